"""The event table and the checkpoints as a verification reads them: page by page, and nothing else of the database."""

from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row
from psycopg.sql import SQL

from crm_events.envelope import event_id
from crm_platform.event_chain.checkpoint import LOWEST, Checkpoint
from crm_platform.event_store.connections import PARAMETERS

PAGE_EVENTS = 1_000
PAGE_CHECKPOINTS = 4

# The lateral query with its limit is asked for each row of the page, by the primary key: no plan reads the whole table.
_EVENTS = SQL(
    "SELECT e.notification_id, e.originator_id, e.originator_version, coalesce(e.topic, ''), coalesce(e.state, ''),"
    " p.notification_id, sha256(p.state) FROM ("
    "  SELECT * FROM store_events WHERE notification_id > %s AND notification_id <= %s"
    "  ORDER BY notification_id LIMIT %s"
    ") AS e LEFT JOIN LATERAL ("
    "  SELECT notification_id, state FROM store_events"
    "  WHERE originator_id = e.originator_id AND originator_version = e.originator_version - 1 LIMIT 1"
    ") AS p ON true ORDER BY e.notification_id"
)
_CHECKPOINTS = SQL(
    "SELECT number, after_position, position, sha256(entries), previous, signed_at, public_key, signature, entries"
    " FROM event_checkpoints WHERE number > %s AND number <= %s ORDER BY number LIMIT %s"
)


class StoredRow(NamedTuple):
    """An event as it is stored; `previous_position` and `previous_hash` are of the event before it in its stream."""

    position: int
    stream: UUID
    sequence: int
    topic: str
    state: bytes
    previous_position: int | None
    previous_hash: bytes | None

    @property
    def id(self) -> UUID:
        return event_id(self.stream, self.sequence)


class Rows:
    """What is stored up to the moment at which this was opened; what comes later is left for the next time.

    Raises psycopg.Error, UndefinedTable where the service never opened its store with a release that signs.
    """

    def __init__(self, connection: psycopg.Connection[Any], log: str) -> None:
        self._connection = connection
        self._log = log
        # The checkpoints first: what they cover was appended before them.
        self.newest_checkpoint = self._number(SQL("SELECT max(number) FROM event_checkpoints"))
        self.newest_position = self._number(SQL("SELECT max(notification_id) FROM store_events"))

    def events(self) -> Iterator[StoredRow]:
        """In the order in which they were appended."""
        position = LOWEST
        while page := self._fetched(_EVENTS, position, self.newest_position, PAGE_EVENTS):
            for row in page:
                yield StoredRow(*row)
            position = page[-1][0]

    def checkpoints(self) -> Iterator[tuple[Checkpoint, bytes]]:
        """Each with its entries, in the order of their numbers."""
        number = LOWEST
        while page := self._fetched(_CHECKPOINTS, number, self.newest_checkpoint, PAGE_CHECKPOINTS):
            for *fields, entries in page:
                yield Checkpoint(self._log, *fields), entries
            number = page[-1][0]

    def newest_signed_by(self, keys: frozenset[bytes]) -> int:
        """The number of the newest checkpoint that names one of these public keys; LOWEST where none does."""
        return self._number(SQL("SELECT max(number) FROM event_checkpoints WHERE public_key = ANY(%s)"), list(keys))

    def _number(self, sql: SQL, *parameters: object) -> int:
        ((number,),) = self._fetched(sql, *parameters)
        return LOWEST if number is None else int(number)

    def _fetched(self, sql: SQL, *parameters: object) -> list[tuple[Any, ...]]:
        with self._connection.cursor(binary=True, row_factory=tuple_row) as cursor:
            return cursor.execute(sql, parameters).fetchall()


def connect(postgres_uri: str) -> psycopg.Connection[Any]:
    """A connection that writes nothing. Raises psycopg.OperationalError."""
    connection = psycopg.connect(postgres_uri, autocommit=True, **PARAMETERS)
    connection.execute("SET default_transaction_read_only = on")
    return connection
