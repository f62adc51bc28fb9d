"""Where a policy stands, kept in the event store beside the events of its reactions (docs/adr/0004, docs/adr/0011).

What is read here is read outside the transaction; every change is a statement that goes into it, and the guards among
them fail where somebody else has moved on meanwhile.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from aiokafka import TopicPartition

from crm_platform.cursor import Cursor, Cursors
from crm_platform.delivery import Parked, SetAside, Standing
from crm_platform.event_store.recorder import Recorder, Statement
from crm_platform.parking import LISTED_KEYS, LotSize, ParkedEvent, ParkedKey

_MEMBERS = ParkedEvent.__slots__
_RENAMED = {"offset": "record_offset", "timestamp": "record_timestamp"}
"""Members whose names PostgreSQL keeps for itself."""
_EVENT = ", ".join(_RENAMED.get(name, name) for name in _MEMBERS)
_AS_MEMBERS = ", ".join(f'{_RENAMED[name]} AS "{name}"' if name in _RENAMED else name for name in _MEMBERS)
_OF_KEY = "policy = %s AND topic = %s AND key = %s"
_OF_EVENT = f"{_OF_KEY} AND partition = %s AND record_offset = %s"
_IN_ORDER = "ORDER BY partition, record_offset"
_DISCARD = (
    f"WITH gone AS (DELETE FROM parked_events WHERE {_OF_EVENT} RETURNING *)"  # noqa: S608 - our own
    " INSERT INTO discarded_events SELECT gone.*, %s, %s FROM gone"
)

BEFORE_ALL = (-1, -1)
"""Partition and offset before every record."""
HELD_PAGE = 200


class PolicyStore:
    """One policy's cursors and parked events. All methods block."""

    def __init__(self, policy: str, recorder: Recorder) -> None:
        self._policy = policy
        self._recorder = recorder

    # -- where the policy stands

    def standing(self, places: set[TopicPartition]) -> Standing:
        """Cursors and parked keys of these partitions. The cursors are read first: whoever changes the parked keys
        after that moves a cursor, and the guard of the next batch tells.
        """
        rows = self._rows(
            "SELECT topic, partition, next_offset, position, gap, skipped, resolved, read_to FROM policy_cursors"
            " WHERE policy = %s",
            (self._policy,),
        )
        cursors = {_place(row): _cursor(row) for row in rows}
        parked: dict[TopicPartition, set[str]] = {}
        rows = self._rows("SELECT DISTINCT topic, partition, key FROM parked_events WHERE policy = %s", (self._policy,))
        for row in rows:
            parked.setdefault(_place(row), set()).add(row["key"])
        return Standing({place: cursors[place] for place in places & cursors.keys()}, parked)

    def moves(self, before: Mapping[TopicPartition, Cursor], after: Cursors) -> Iterable[Statement]:
        """Each cursor moved if it still is as it was."""
        for place, cursor in after.items():
            skipped = orjson.dumps(dict(cursor.skipped)).decode()
            values = (cursor.next_offset, cursor.position, cursor.gap, skipped, cursor.read_to)
            key = (self._policy, place.topic, place.partition)
            if before[place].stored:
                yield Statement(
                    "UPDATE policy_cursors SET next_offset = %s, position = %s, gap = %s, skipped = %s, read_to = %s"
                    " WHERE policy = %s AND topic = %s AND partition = %s AND next_offset = %s AND resolved = %s"
                    " RETURNING 1",
                    (*values, *key, before[place].next_offset, before[place].resolved),
                    rows=1,
                )
            else:
                yield Statement(
                    "INSERT INTO policy_cursors"
                    " (next_offset, position, gap, skipped, read_to, policy, topic, partition)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1",
                    (*values, *key),
                    rows=1,
                )

    def resolve(self, events: Sequence[ParkedEvent]) -> Iterable[Statement]:
        """Parked events of these partitions are resolved: every batch under way there finds its guard failed."""
        for place in sorted({event.place for event in events}):
            yield Statement(
                "UPDATE policy_cursors SET resolved = resolved + 1"
                " WHERE policy = %s AND topic = %s AND partition = %s RETURNING 1",
                (self._policy, place.topic, place.partition),
                rows=1,
            )

    def set_aside(self, refused: Sequence[SetAside]) -> Iterable[Statement]:
        for record, reason in refused:
            yield Statement(
                "INSERT INTO set_aside_records (policy, topic, partition, record_offset, reason)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (self._policy, record.topic, record.partition, record.offset, reason),
            )

    # -- the parking lot

    def park(self, parked: Sequence[Parked]) -> Iterable[Statement]:
        now = datetime.now(UTC)
        for event in (ParkedEvent.of(each, now) for each in parked):
            values = {name: getattr(event, name) for name in _MEMBERS} | {"headers": _headers(event.headers)}
            yield Statement(
                f"INSERT INTO parked_events (policy, {_EVENT}) VALUES (%s{', %s' * len(_MEMBERS)})",  # noqa: S608 - our own
                (self._policy, *values.values()),
            )

    def events(self, topic: str, key: str, limit: int) -> list[ParkedEvent]:
        """A key's first events, in order."""
        rows = self._rows(
            f"SELECT {_AS_MEMBERS} FROM parked_events WHERE {_OF_KEY} {_IN_ORDER} LIMIT %s",  # noqa: S608 - as above
            (self._policy, topic, key, limit),
        )
        return [_event(row) for row in rows]

    def keys(self) -> list[ParkedKey]:
        rows = self._rows(
            f"SELECT DISTINCT ON (topic, key) {_AS_MEMBERS}, count(*) OVER (PARTITION BY topic, key) AS events"  # noqa: S608
            " FROM parked_events WHERE policy = %s ORDER BY topic, key, partition, record_offset",
            (self._policy,),
        )
        keys = [ParkedKey(row["events"], _event(row)) for row in rows]
        return sorted(keys, key=lambda key: key.first.parked_at)[:LISTED_KEYS]

    def count(self, topic: str, key: str) -> int:
        rows = self._rows(
            f"SELECT count(*) AS events FROM parked_events WHERE {_OF_KEY}",  # noqa: S608 - as above
            (self._policy, topic, key),
        )
        return int(rows[0]["events"])

    def size(self) -> LotSize:
        (row,) = self._rows(
            "SELECT count(DISTINCT (topic, key)) AS keys, count(*) AS events, min(parked_at) AS oldest"
            " FROM parked_events WHERE policy = %s",
            (self._policy,),
        )
        return LotSize(row["keys"], row["events"], row["oldest"])

    def take(self, events: Sequence[ParkedEvent]) -> Iterable[Statement]:
        """Events out of the lot; fails where somebody else has taken one of them."""
        for event in events:
            yield Statement(
                f"DELETE FROM parked_events WHERE {_OF_EVENT} RETURNING 1",  # noqa: S608
                (self._policy, event.topic, event.key, event.partition, event.offset),
                rows=1,
            )

    def tell_reason(self, event: ParkedEvent, reason: str) -> Statement:
        """Why the event cannot be applied, as last seen."""
        return Statement(
            f"UPDATE parked_events SET reason = %s WHERE {_OF_EVENT}",  # noqa: S608
            (reason, self._policy, event.topic, event.key, event.partition, event.offset),
        )

    def discard(self, events: Sequence[ParkedEvent], actor: str, reason: str) -> Iterable[Statement]:
        """Events out of the lot for good; they are kept with who decided it, when and why."""
        for event in events:
            yield Statement(
                f"{_DISCARD} RETURNING 1",
                (self._policy, event.topic, event.key, event.partition, event.offset, actor, reason),
                rows=1,
            )

    def held(self, topic: str, after: tuple[int, int]) -> list[ParkedEvent]:
        """The next events of the topic whose content is still there, parked or discarded, in order of their places."""
        rows = self._rows(
            f"SELECT {_AS_MEMBERS} FROM ("  # noqa: S608 - as above
            f" SELECT policy, {_EVENT} FROM parked_events"
            f" UNION ALL SELECT policy, {_EVENT} FROM discarded_events) AS held"
            " WHERE policy = %s AND topic = %s AND (partition, record_offset) > (%s, %s) AND value IS NOT NULL"
            f" {_IN_ORDER} LIMIT %s",
            (self._policy, topic, *after, HELD_PAGE),
        )
        return [_event(row) for row in rows]

    def forget(self, events: Sequence[ParkedEvent], actor: str, reason: str) -> Iterable[Statement]:
        """The content of these events is deleted, and the parked ones among them are discarded."""
        for event in events:
            place = (self._policy, event.topic, event.key, event.partition, event.offset)
            yield Statement(_DISCARD, (*place, actor, reason))
            yield Statement(
                "UPDATE discarded_events SET value = NULL, headers = '[]'"  # noqa: S608 - as above
                f" WHERE {_OF_EVENT}",
                place,
            )

    def _rows(self, sql: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
        with self._recorder.datastore.get_connection() as conn:
            return conn.execute(sql, parameters).fetchall()


def _place(row: Mapping[str, Any]) -> TopicPartition:
    return TopicPartition(row["topic"], row["partition"])


def _cursor(row: Mapping[str, Any]) -> Cursor:
    return Cursor(
        row["next_offset"],
        row["position"],
        row["skipped"],
        row["gap"],
        resolved=row["resolved"],
        read_to=row["read_to"],
        stored=True,
    )


def _headers(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """As JSON, names and values alike in base64: what a stranger puts there need not be text."""
    encoded = [
        [_base64(name.encode(errors="surrogateescape")), None if value is None else _base64(value)]
        for name, value in headers
    ]
    return orjson.dumps(encoded).decode()


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _event(row: Mapping[str, Any]) -> ParkedEvent:
    headers = [
        (base64.b64decode(name).decode(errors="surrogateescape"), base64.b64decode(value or ""))
        for name, value in row["headers"]
    ]
    return ParkedEvent(**{name: row[name] for name in _MEMBERS} | {"headers": headers})
