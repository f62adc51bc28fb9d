"""The library's PostgreSQL recorder with our transaction: lock first, guards, events and replies in one.

Why not the library's own insert: its psycopg pipeline can hang on large batches, it commits although its hook raised,
and it turns a lost COMMIT reply into a false conflict (docs/adr/0006).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.postgres import PostgresDatastore, PostgresProcessRecorder
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed, Identifier

from crm_platform.event_store.lookup import FoundBy

TABLES = (
    """CREATE TABLE IF NOT EXISTS replies (
        command_id uuid PRIMARY KEY, fingerprint bytea NOT NULL, receipt bytea NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now())""",
    """CREATE TABLE IF NOT EXISTS policy_cursors (
        policy text, topic text, partition int, next_offset bigint NOT NULL, position bigint NOT NULL,
        gap bigint, skipped jsonb NOT NULL DEFAULT '{}', resolved bigint NOT NULL DEFAULT 0,
        read_to bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (policy, topic, partition))""",
    """CREATE TABLE IF NOT EXISTS set_aside_records (
        policy text, topic text, partition int, record_offset bigint, reason text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (policy, topic, partition, record_offset))""",
    """CREATE TABLE IF NOT EXISTS parked_events (
        policy text, topic text, key text, partition int, record_offset bigint, position bigint, previous bigint,
        event_id text, event_type text, reason text, parked_at timestamptz NOT NULL, record_timestamp bigint NOT NULL,
        record_key bytea, value bytea, headers jsonb NOT NULL,
        PRIMARY KEY (policy, topic, key, partition, record_offset))""",
    """CREATE TABLE IF NOT EXISTS discarded_events (
        LIKE parked_events, discarded_by text NOT NULL, discard_reason text NOT NULL,
        discarded_at timestamptz NOT NULL DEFAULT now())""",
    # A subject whose key was destroyed keeps its row, with neither key nor wrapped key: it never gets another one.
    """CREATE TABLE IF NOT EXISTS subject_keys (subject uuid PRIMARY KEY, key uuid UNIQUE, wrapped bytea)""",
    # Tables of the releases before: looked at first, because the change itself would wait for every writer.
    """DO $$ BEGIN
        IF EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = 'subject_keys'::regclass AND attname = 'key' AND attnotnull)
        THEN ALTER TABLE subject_keys ALTER key DROP NOT NULL, ALTER wrapped DROP NOT NULL; END IF; END $$""",
    """CREATE TABLE IF NOT EXISTS destroyed_keys (
        key uuid PRIMARY KEY, destroyed_at timestamptz NOT NULL DEFAULT now(), published_at timestamptz)""",
    "CREATE INDEX IF NOT EXISTS unpublished_destroyed_keys ON destroyed_keys (key) WHERE published_at IS NULL",
    "CREATE SEQUENCE IF NOT EXISTS key_destructions",
    # PostgreSQL keeps samples of what it analyses, and keeps them when the row is gone. These columns hold what an
    # erasure takes away: wrapped keys, and what adapters wrote in the clear.
    """DO $$ DECLARE sampled record; BEGIN
        FOR sampled IN
            SELECT attrelid::regclass AS of, attname FROM pg_attribute
            WHERE (attrelid, attname) IN (
                ('subject_keys'::regclass, 'wrapped'),
                ('parked_events'::regclass, 'record_key'), ('discarded_events'::regclass, 'record_key'),
                ('parked_events'::regclass, 'value'), ('discarded_events'::regclass, 'value'),
                ('parked_events'::regclass, 'headers'), ('discarded_events'::regclass, 'headers'))
            AND attstattarget IS DISTINCT FROM 0
        LOOP
            EXECUTE format('ALTER TABLE %s ALTER %I SET STATISTICS 0', sampled.of, sampled.attname);
        END LOOP; END $$""",
    """CREATE TABLE IF NOT EXISTS relay_checkpoint (
        relay text PRIMARY KEY, position bigint NOT NULL, partitions jsonb NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS event_checkpoints (
        number bigint PRIMARY KEY, after_position bigint NOT NULL, position bigint NOT NULL, entries bytea NOT NULL,
        previous bytea NOT NULL, signed_at timestamptz NOT NULL, public_key bytea NOT NULL,
        signature bytea NOT NULL)""",
)


_DESTRUCTIONS = SQL("SELECT last_value AS number, is_called AS counted FROM key_destructions")
"""Read under the table's lock: whoever destroys keys holds it, too, so no number is missed or seen too early."""


class Statement(NamedTuple):
    """SQL that belongs in the transaction of the events; `rows` is how many it must return, None for any number."""

    sql: str
    params: Sequence[Any]
    rows: int | None = None


class GuardFailedError(Exception):
    """A compare-and-set did not find what it expected: somebody else has moved on. Nothing was stored."""


class KeysDestroyedError(IntegrityError):
    """Subject keys were destroyed since those that seal the events were looked up. Nothing was stored: decide again."""


class Destructions(NamedTuple):
    """How often keys were destroyed in this store. It is only ever compared with another of its kind."""

    number: int
    counted: bool


class StoredReply(NamedTuple):
    fingerprint: bytes
    receipt: bytes


class Notification(NamedTuple):
    """A stored event at its position in the store."""

    position: int
    stream: UUID
    sequence: int
    topic: str
    state: bytes


class Recorder(PostgresProcessRecorder):
    """Appends in one guarded transaction, loads many streams in one query."""

    def __init__(self, datastore: PostgresDatastore, **names: str) -> None:
        super().__init__(datastore, **names)
        self.sql_create_statements.extend(Composed([SQL(table)]) for table in TABLES)
        # The library's own passes one array of rows, as text: its writing and reading cost ten times as much.
        self._insert_rows = SQL(
            "INSERT INTO {} (originator_id, originator_version, topic, state)"
            " SELECT * FROM unnest(%b::uuid[], %b::bigint[], %b::text[], %b::bytea[]) RETURNING notification_id"
        ).format(Identifier(self.events_table_name))
        self._select_streams = SQL(
            "SELECT originator_id, originator_version, topic, state FROM {}"
            " WHERE originator_id = ANY(%b) ORDER BY originator_id, originator_version"
        ).format(Identifier(self.events_table_name))
        self._select_after = SQL(
            "SELECT notification_id, originator_id, originator_version, topic, state FROM {} WHERE notification_id > %s"
            " ORDER BY notification_id LIMIT %s"
        ).format(Identifier(self.events_table_name))

    def append(
        self,
        events: Sequence[StoredEvent],
        *,
        guards: Iterable[Statement] = (),
        after: Callable[[Sequence[int]], Iterable[Statement]] = lambda _positions: (),
        keys_as_of: Destructions | None = None,
    ) -> Sequence[int]:
        """Store events and whatever belongs to them in one transaction; returns the events' positions.

        `after` is given the positions and may add statements. `keys_as_of` is from before the keys were looked up that
        seal the events. Raises GuardFailedError, KeysDestroyedError where keys were destroyed since then, the library's
        IntegrityError on a version conflict, OperationalError when the outcome is unknown.
        """
        with self.datastore.get_connection() as conn, conn.cursor() as cursor:
            # One round trip, not one for each; what is raised from here on rolls back.
            cursor.execute(self._begin(notify=bool(events), keys=keys_as_of is not None))
            if keys_as_of is not None and _last_row(cursor) != keys_as_of:
                raise KeysDestroyedError("subject keys were destroyed meanwhile")
            for guard in guards:
                self._execute(cursor, guard)
            positions: list[int] = []
            if events:
                cursor.execute(self._insert_rows, _columns(events))
                positions = [row["notification_id"] for row in cursor.fetchall()]
            for statement in after(positions):
                self._execute(cursor, statement)
            cursor.execute("COMMIT")
            return positions

    def _begin(self, *, notify: bool, keys: bool) -> Composed:
        """Begin, and lock the table for writers: positions are given and committed in one order, keys destroyed, too.

        With `keys`, the last result tells the destructions.
        """
        statements = [SQL("BEGIN"), *self.lock_table_statements]
        if notify:
            statements.append(SQL("NOTIFY {}").format(Identifier(self.channel_name)))
        if keys:
            statements.append(_DESTRUCTIONS)
        return SQL("; ").join(statements)

    def destructions(self) -> Destructions:
        """How often keys were destroyed up to now; a destruction that is under way is waited for.

        A sequence shows a step before it is committed: whoever counted it then, and looked keys up, would find the key
        that is being destroyed, and take it for one that was looked up afterwards.
        """
        with self.datastore.get_connection() as conn, conn.cursor() as cursor:
            cursor.execute(self._begin(notify=False, keys=True))
            found = _last_row(cursor)
            cursor.execute("COMMIT")
            return found

    @staticmethod
    def _execute(cursor: Any, statement: Statement) -> None:
        cursor.execute(statement.sql, statement.params)
        if statement.rows is not None and len(cursor.fetchall()) != statement.rows:
            raise GuardFailedError(f"expected {statement.rows} row(s) from: {statement.sql}")

    def select_streams(self, streams: Iterable[UUID]) -> list[StoredEvent]:
        """All events of these streams, in order of stream and version."""
        return [StoredEvent(*row) for row in self.fetched(self._select_streams, (list(streams),))]

    def select_after(self, position: int, limit: int) -> list[Notification]:
        """The next events of the store after a position, private ones included."""
        return [Notification(*row) for row in self.fetched(self._select_after, (position, limit))]

    def create_lookups(self, found_by: Iterable[FoundBy]) -> None:
        """Create the indexes by which events are found."""
        with self.datastore.get_connection() as conn:
            for by in found_by:
                conn.execute(by.creation(self.events_table_name))

    def select_found(self, by: FoundBy, value: UUID) -> list[bytes]:
        """The states of the events that are found by that value."""
        rows = self.fetched(by.selection(self.events_table_name), (str(value),))
        return [bytes(state) for (state,) in rows]

    def fetched(self, sql: SQL | Composed, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Rows in PostgreSQL's binary format: bytes need no decoding from hexadecimal."""
        with self.datastore.get_connection() as conn, conn.cursor(binary=True, row_factory=tuple_row) as cursor:
            return cursor.execute(sql, parameters).fetchall()

    def select_replies(self, commands: Iterable[UUID]) -> dict[UUID, StoredReply]:
        """The replies of those commands that have been carried out."""
        rows = self.fetched(
            SQL("SELECT command_id, fingerprint, receipt FROM replies WHERE command_id = ANY(%b)"), (list(commands),)
        )
        return {command: StoredReply(fingerprint, receipt) for command, fingerprint, receipt in rows}


def _last_row(cursor: Any) -> Destructions:
    """Of several statements that were sent as one, the row of the last."""
    while cursor.nextset():
        pass
    return Destructions(**cursor.fetchone())


def _columns(events: Sequence[StoredEvent]) -> tuple[list[Any], ...]:
    return (
        [event.originator_id for event in events],
        [event.originator_version for event in events],
        [event.topic for event in events],
        [event.state for event in events],
    )
