"""The rows that say which keys a service has, and which it has destroyed (docs/adr/0019). All functions block."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.sql import SQL, Composed

from crm_platform.event_store.recorder import Recorder, Statement

PAGE = 1_000
_FIRST = UUID(int=0)


class StoredKey(NamedTuple):
    """A subject's key as it is stored."""

    key: UUID
    wrapped: bytes


class DestroyedKey(NamedTuple):
    """A key that is destroyed, and since when."""

    key: UUID
    at: datetime


def destruction(subjects: Iterable[UUID], at: datetime | None = None) -> Iterable[Statement]:
    """Destroys the keys of these subjects. Belongs in a transaction that holds the lock of the event table.

    `at` is when they were destroyed, the transaction's time by default. Doing it again changes nothing.
    """
    # Of two who destroy keys of the same subjects, the second waits for the event table's lock and finds nothing left.
    wanted = list(subjects)
    yield Statement("SELECT nextval('key_destructions')", ())
    yield Statement(
        "WITH ledger AS ("
        "  INSERT INTO destroyed_keys (key, destroyed_at)"
        "  SELECT key, coalesce(%b, now()) FROM subject_keys WHERE subject = ANY(%b) AND key IS NOT NULL"
        "  ON CONFLICT DO NOTHING)"
        " INSERT INTO subject_keys (subject) SELECT * FROM unnest(%b::uuid[])"
        " ON CONFLICT (subject) DO UPDATE SET key = NULL, wrapped = NULL WHERE subject_keys.key IS NOT NULL",
        (at, wanted, wanted),
    )


class KeyLedger:
    """The keys of one service's event store, and the ledger of those it has destroyed."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def destroy_again(self, destroyed: Mapping[UUID, datetime]) -> int:
        """Destroy what of these keys a backup has brought back; returns how many there were."""
        found = self._recorder.fetched(
            SQL("SELECT subject, key FROM subject_keys WHERE key = ANY(%b)"), (list(destroyed),)
        )
        statements = [each for subject, key in found for each in destruction((subject,), destroyed[key])]
        if statements:
            self._recorder.append((), after=lambda _positions: statements)
        return len(found)

    def unpublished(self) -> list[DestroyedKey]:
        """The next destroyed keys that crm.keys is not known to mark as such."""
        rows = self._recorder.fetched(
            SQL("SELECT key, destroyed_at FROM destroyed_keys WHERE published_at IS NULL ORDER BY key LIMIT %s"),
            (PAGE,),
        )
        return [DestroyedKey(*row) for row in rows]

    def published(self, keys: Sequence[UUID]) -> None:
        """Kafka has acknowledged the marks of these keys."""
        self._changed(SQL("UPDATE destroyed_keys SET published_at = now() WHERE key = ANY(%b)"), keys)

    def publish_again(self, keys: Sequence[UUID]) -> None:
        """Where one of these keys is destroyed, its mark is to be published once more: the key may lie behind it."""
        self._changed(SQL("UPDATE destroyed_keys SET published_at = NULL WHERE key = ANY(%b)"), keys)

    def rewrap(self, before: Sequence[StoredKey], after: Sequence[StoredKey]) -> None:
        """Replace each wrapped key that is still as it was; one that was destroyed meanwhile stays so."""
        with self._recorder.datastore.get_connection() as conn:
            conn.execute(
                "UPDATE subject_keys SET wrapped = new.after FROM"
                " unnest(%b::uuid[], %b::bytea[], %b::bytea[]) AS new (key, before, after)"
                " WHERE subject_keys.key = new.key AND subject_keys.wrapped = new.before",
                ([each.key for each in before], [each.wrapped for each in before], [each.wrapped for each in after]),
            )

    def count(self) -> int:
        """How many subjects have a key."""
        ((keys,),) = self._recorder.fetched(SQL("SELECT count(*) FROM subject_keys WHERE key IS NOT NULL"), ())
        return int(keys)

    def stored(self) -> Iterator[list[StoredKey]]:
        """All keys that subjects have, page by page."""
        sql = SQL("SELECT key, wrapped FROM subject_keys WHERE key > %s ORDER BY key LIMIT %s")
        return ([StoredKey(*row) for row in page] for page in self._pages(sql))

    def destroyed(self) -> Iterator[list[UUID]]:
        """All keys that are destroyed, page by page."""
        sql = SQL("SELECT key FROM destroyed_keys WHERE key > %s ORDER BY key LIMIT %s")
        return ([key for (key,) in page] for page in self._pages(sql))

    def _pages(self, sql: SQL) -> Iterator[list[tuple[Any, ...]]]:
        last = _FIRST
        while page := self._recorder.fetched(sql, (last, PAGE)):
            yield page
            last = page[-1][0]

    def _changed(self, sql: SQL | Composed, keys: Sequence[UUID]) -> None:
        with self._recorder.datastore.get_connection() as conn:
            conn.execute(sql, (list(keys),))
