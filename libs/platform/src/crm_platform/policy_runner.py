"""Runs a policy, effectively once: its events and its cursors are one event-store transaction (docs/adr/0004)."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, NamedTuple
from uuid import UUID

import orjson
from aiokafka import ConsumerRecord, TopicPartition
from eventsourcing.persistence import PersistenceError

from crm_events.envelope import Recorded, UnknownEventError, UnreadableEventError
from crm_events.event import Event, Sealed
from crm_events.registry import Registry
from crm_events.topics import INTERACTIONS
from crm_platform import kafka, mongo
from crm_platform.consumer import CannotApplyError, Consumer, CursorMovedError, Cursors, Progress
from crm_platform.cursor import Arrival, Cursor, arrival
from crm_platform.errors import Refusal, Unavailable
from crm_platform.event_store.committer import Committer
from crm_platform.event_store.recorder import GuardFailedError, Recorder, Statement
from crm_platform.event_store.store import CommandStore
from crm_platform.inbound import Inbound, passed, read, read_adapter_record, type_of
from crm_platform.keyring import Keyring
from crm_platform.logging import get_logger
from crm_platform.metrics import ADAPTER_RECORDS_REFUSED
from crm_platform.policy import Policy
from crm_platform.sealing import SealBrokenError
from crm_platform.work import Staging, UnitOfWork

log = get_logger(__name__)

Clock = Callable[[], datetime]

ADAPTER_TOPICS = frozenset({INTERACTIONS.name})
"""Topics that others write: what is malformed there is set aside with its reason, and the records behind it flow."""


class SetAside(NamedTuple):
    record: ConsumerRecord
    reason: str


Step = Inbound | UnknownEventError | UnreadableEventError


class PolicyRunner(Consumer):
    """Runs one policy of a service."""

    transient: ClassVar[tuple[type[Exception], ...]] = (
        *kafka.TRANSIENT,
        PersistenceError,
        mongo.MongoError,
        Unavailable,
    )

    def __init__(
        self,
        policy: Policy,
        registry: Registry,
        recorder: Recorder,
        committer: Committer,
        store: CommandStore,
        keyring: Keyring,
        bootstrap: str,
        instance: str,
        clock: Clock,
    ) -> None:
        super().__init__(bootstrap, instance)
        self.name = policy.name
        self.topics = policy.topics
        self._policy = policy
        self._registry = registry
        self._recorder = recorder
        self._committer = committer
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._handled = {event.type_name() for event in policy.reactions}

    async def prepare(self) -> None:
        """The store's tables exist since it was opened."""

    async def load_cursors(self, partitions: Iterable[TopicPartition]) -> Cursors:
        return await asyncio.to_thread(self._load_cursors, set(partitions))

    def _load_cursors(self, partitions: set[TopicPartition]) -> Cursors:
        with self._recorder.datastore.get_connection() as conn:
            rows = conn.execute(
                "SELECT topic, partition, next_offset, position, gap, skipped FROM policy_cursors WHERE policy = %s",
                (self.name,),
            ).fetchall()
        stored = {
            TopicPartition(r["topic"], r["partition"]): Cursor(
                r["next_offset"], r["position"], r["skipped"], r["gap"], stored=True
            )
            for r in rows
        }
        return {place: cursor for place, cursor in stored.items() if place in partitions}

    async def apply(self, records: Sequence[ConsumerRecord], cursors: Mapping[TopicPartition, Cursor]) -> Progress:
        steps = [self._step(record) for record in records]
        await self._open([step for step in steps if isinstance(step, Inbound)])
        batch = _Batch(self, records, [self._opened(step) for step in steps], cursors)
        try:
            await self._store.transact(batch.decide)
        except GuardFailedError as moved:
            raise CursorMovedError(str(moved)) from moved
        for aside in batch.set_aside:
            ADAPTER_RECORDS_REFUSED.labels(topic=aside.record.topic).inc()
            log.warning(
                "record_set_aside",
                policy=self.name,
                topic=aside.record.topic,
                partition=aside.record.partition,
                offset=aside.record.offset,
                reason=aside.reason,
            )
        return batch.progress

    # -- from records to steps

    def _step(self, record: ConsumerRecord) -> Step:
        type_name = type_of(record)
        if type_name is not None and type_name not in self._handled and self._registry.find(type_name):
            return UnknownEventError(type_name)
        try:
            return (read_adapter_record if record.topic in ADAPTER_TOPICS else read)(record, self._registry)
        except (UnknownEventError, UnreadableEventError) as refusal:
            return refusal

    async def _open(self, inbounds: Sequence[Inbound]) -> None:
        """Fetch the keys of a batch's personal blocks in one query."""
        await self._keyring.prefetch(b.key for i in inbounds if isinstance(b := i.event.data.personal, Sealed))

    def _opened(self, step: Step) -> Step:
        """The event with its personal block open; still sealed where its key is erased."""
        if not isinstance(step, Inbound) or not isinstance(step.event.data.personal, Sealed):
            return step
        event = step.event
        try:
            data = self._keyring.opened_event(event.data)
        except SealBrokenError as broken:
            return UnreadableEventError(str(broken))
        opened = Recorded(
            event.id,
            event.source,
            event.subject,
            event.sequence,
            event.time,
            event.actor,
            event.correlation,
            event.causation,
            data,
        )
        return Inbound(step.record, opened, step.position, step.previous)

    # -- reacting, in the writer thread

    def react(self, event: Recorded[Event], staging: Staging) -> None:
        """React to one event; leaves nothing behind when the reaction raises."""
        work = UnitOfWork(
            staging,
            self._committer.open,
            now=self._clock(),
            actor=f"policy:{self.name}",
            causation=str(event.id),
            correlation=event.correlation or str(event.id),
        )
        try:
            self._policy.react(event, work)
        except BaseException:
            work.discard()
            raise
        work.commit()

    def streams(self, steps: Iterable[Step]) -> Iterable[UUID]:
        """The streams that a batch will load."""
        return (s for step in steps if isinstance(step, Inbound) for s in self._policy.streams(step.event))

    def handles(self, event: Recorded[Event]) -> bool:
        return type(event.data) in self._policy.reactions


class _Batch:
    """One batch's way through the writer; decided anew after a version conflict."""

    def __init__(
        self,
        runner: PolicyRunner,
        records: Sequence[ConsumerRecord],
        steps: Sequence[Step],
        cursors: Mapping[TopicPartition, Cursor],
    ) -> None:
        self._runner = runner
        self._records = records
        self._steps = steps
        self._before = cursors
        self.progress = Progress(cursors)
        self.set_aside: list[SetAside] = []

    def decide(self, staging: Staging) -> Sequence[Statement]:
        """Stage every reaction of the batch; returns the cursors' compare-and-sets."""
        self.progress = Progress(self._before)
        self.set_aside = []
        try:
            staging.prefetch(self._runner.streams(self._steps))
        except (UnknownEventError, UnreadableEventError) as unreadable:
            # Each reaction then loads its own streams, and the one that needs this stream stops its partition.
            log.error("stream_unreadable", policy=self._runner.name, exc_info=unreadable)
        for record, step in zip(self._records, self._steps, strict=True):
            if not self.progress.is_stopped(record):
                self._take(record, step, staging)
        return [*self._cursor_moves(), *self._asides()]

    def _take(self, record: ConsumerRecord, step: Step, staging: Staging) -> None:
        cursor = self.progress.cursor(record)
        if isinstance(step, UnreadableEventError):
            self._refuse(record, cursor, str(step))
        elif isinstance(step, UnknownEventError):
            self._pass(record, cursor, step)
        elif record.topic in ADAPTER_TOPICS:
            self._react(record, cursor, step, staging)
        else:
            self._arrived(record, cursor, step, staging)

    def _arrived(self, record: ConsumerRecord, cursor: Cursor, step: Inbound, staging: Staging) -> None:
        match arrival(cursor, step.position, step.previous):
            case Arrival.REPEAT:
                self.progress.move(record, cursor, Arrival.REPEAT.value)
            case Arrival.GAP:
                self.progress.move(record, cursor.passed_over(), Arrival.GAP.value)
            case Arrival.NEXT:
                self._react(record, cursor.applied(step.position, step.event.time), step, staging)

    def _react(self, record: ConsumerRecord, moved: Cursor, step: Inbound, staging: Staging) -> None:
        if not self._runner.handles(step.event):
            self.progress.move(record, moved.with_skipped(step.event.data.type_name()), "skipped")
            return
        try:
            self._runner.react(step.event, staging)
        except Refusal as refusal:
            self._refuse(record, moved, str(refusal))
        except Exception as failure:  # noqa: BLE001 - whatever a reaction raises stops its partition, not the others
            reason = f"{type(failure).__name__} in {self._runner.name} at event {step.event.id}"
            self.progress.stop(CannotApplyError(record, reason))
        else:
            self.progress.move(record, moved, "applied")

    def _pass(self, record: ConsumerRecord, cursor: Cursor, unknown: UnknownEventError) -> None:
        if record.topic in ADAPTER_TOPICS:
            self._refuse(record, cursor, f"{unknown.type_name[:80]!r} is no type that adapters may write")
            return
        try:
            self.progress.move(record, passed(cursor, record, unknown), "skipped")
        except UnreadableEventError as refusal:
            self._refuse(record, cursor, str(refusal))

    def _refuse(self, record: ConsumerRecord, cursor: Cursor, reason: str) -> None:
        """An adapter's record is set aside, ours stops its partition."""
        if record.topic in ADAPTER_TOPICS:
            self.set_aside.append(SetAside(record, reason))
            self.progress.move(record, cursor, "refused")
        else:
            self.progress.stop(CannotApplyError(record, reason))

    def _cursor_moves(self) -> Iterable[Statement]:
        for place, cursor in self.progress.cursors.items():
            before = self._before[place]
            skipped = orjson.dumps(dict(cursor.skipped)).decode()
            values = (cursor.next_offset, cursor.position, cursor.gap, skipped)
            key = (self._runner.name, place.topic, place.partition)
            if before.stored:
                yield Statement(
                    "UPDATE policy_cursors SET next_offset = %s, position = %s, gap = %s, skipped = %s"
                    " WHERE policy = %s AND topic = %s AND partition = %s AND next_offset = %s RETURNING 1",
                    (*values, *key, before.next_offset),
                    rows=1,
                )
            else:
                yield Statement(
                    "INSERT INTO policy_cursors (next_offset, position, gap, skipped, policy, topic, partition)"
                    " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1",
                    (*values, *key),
                    rows=1,
                )

    def _asides(self) -> Iterable[Statement]:
        for record, reason in self.set_aside:
            yield Statement(
                "INSERT INTO set_aside_records (policy, topic, partition, record_offset, reason)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (self._runner.name, record.topic, record.partition, record.offset, reason),
            )
