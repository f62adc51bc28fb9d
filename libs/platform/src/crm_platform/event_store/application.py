"""The event store of one service: the library's application over our mapper and recorder."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import ClassVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import Mapper, StoredEvent
from eventsourcing.postgres import PostgresFactory
from eventsourcing.utils import get_topic
from psycopg.conninfo import conninfo_to_dict

from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_events.registry import Registry
from crm_platform.event_store.connections import bound
from crm_platform.event_store.lookup import FoundBy
from crm_platform.event_store.mapper import CloudEventsMapper
from crm_platform.event_store.recorder import Recorder
from crm_platform.work import StoredStream

LOCK_TIMEOUT_SECONDS = 3
IDLE_IN_TRANSACTION_SECONDS = 3
"""A client that is frozen or cut off in a transaction holds the table's lock; the server takes it back after this."""


class EventStore(Application[UUID]):
    """Streams of events in PostgreSQL. Its tables are created where they do not exist."""

    name = "store"
    env: ClassVar[dict[str, str]] = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "PROCESS_RECORDER_TOPIC": get_topic(Recorder),
        # Inserting through the library's database function would skip the table lock, and readers would pass over
        # events that commit late.
        "POSTGRES_ENABLE_DB_FUNCTIONS": "n",
        "POSTGRES_LOCK_TIMEOUT": str(LOCK_TIMEOUT_SECONDS),
        "POSTGRES_IDLE_IN_TRANSACTION_SESSION_TIMEOUT": str(IDLE_IN_TRANSACTION_SECONDS),
        "POSTGRES_CONNECT_TIMEOUT": "2",
        "POSTGRES_POOL_SIZE": "2",
        "POSTGRES_MAX_OVERFLOW": "6",
    }

    def __init__(self, postgres_uri: str, registry: Registry, found_by: Iterable[FoundBy] = ()) -> None:
        self._registry = registry
        super().__init__(env=_connection(postgres_uri))
        if not isinstance(self.recorder, Recorder):
            raise TypeError("the event store needs its own recorder")
        self.store: Recorder = self.recorder
        self.store.create_lookups(found_by)

    def construct_mapper(self) -> Mapper[UUID]:
        self._events = CloudEventsMapper(self.construct_transcoder(), self._registry)
        return self._events

    def construct_recorder(self) -> Recorder:
        assert isinstance(self.factory, PostgresFactory)  # noqa: S101 - the environment names it
        pool = self.factory.datastore.pool
        bound(pool)
        # The pool backs off further with each failure, up to minutes: after an outage it would come back late. A
        # connection that cannot be made is given up at once instead, and tried again by whoever needs one next.
        pool.reconnect_timeout = 0.0
        recorder = self.factory.process_recorder()
        assert isinstance(recorder, Recorder)  # noqa: S101 - the factory was told so
        return recorder

    def write(self, recorded: Recorded[Event], previous: bytes | None = None) -> StoredEvent:
        """The row of an event; its personal block is sealed by now. `previous` is the state of the row before it."""
        return self._events.written(recorded, previous)

    def histories(self, streams: Iterable[UUID]) -> Mapping[UUID, StoredStream]:
        """The events of many streams in one query; a stream without events is absent."""
        by_stream = groupby(self.store.select_streams(streams), key=attrgetter("originator_id"))
        return {stream: self._read(rows) for stream, rows in by_stream}

    def found(self, by: FoundBy, value: UUID) -> list[Recorded[Event]]:
        """The events of that type whose member has that value, in the order in which they were stored."""
        return [self._events.read(state) for state in self.store.select_found(by, value)]

    def _read(self, rows: Iterable[StoredEvent]) -> StoredStream:
        states = [row.state for row in rows]
        return StoredStream([self._events.read(state) for state in states], states[-1])


def _connection(uri: str) -> dict[str, str]:
    parts = conninfo_to_dict(uri)
    return {
        "POSTGRES_DBNAME": str(parts.get("dbname", "")),
        "POSTGRES_HOST": str(parts.get("host", "")),
        "POSTGRES_PORT": str(parts.get("port", "5432")),
        "POSTGRES_USER": str(parts.get("user", "")),
        "POSTGRES_PASSWORD": str(parts.get("password", "")),
    }
