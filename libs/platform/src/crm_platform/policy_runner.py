"""Runs a policy, effectively once: its events and its cursors are one event-store transaction (docs/adr/0004)."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import ClassVar

from aiokafka import ConsumerRecord, TopicPartition
from eventsourcing.persistence import DataError, IntegrityError, NotSupportedError, PersistenceError, ProgrammingError

from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_events.registry import Registry
from crm_platform import kafka, mongo
from crm_platform.authenticity import Authenticator
from crm_platform.consumer import CannotStoreError, Consumer
from crm_platform.crash_points import CrashPoint, passing
from crm_platform.cursor import CursorMovedError
from crm_platform.delivery import Progress, Standing, deliver
from crm_platform.errors import TooLarge, Unavailable
from crm_platform.event_store.recorder import GuardFailedError, Recorder, Statement
from crm_platform.event_store.store import CommandStore
from crm_platform.event_tracing import Processing
from crm_platform.inbound import Inbound, RecordReader
from crm_platform.metrics import ADAPTER_RECORDS_REFUSED
from crm_platform.parking import LotSize
from crm_platform.policy import Policy
from crm_platform.policy_store import PolicyStore
from crm_platform.reactions import Reactions
from crm_platform.sealing import KeyErased
from crm_platform.work import Staging

REFUSED_BY_THE_STORE = (TooLarge, KeyErased, DataError, ProgrammingError, NotSupportedError)
"""What the event store will refuse however often it is asked."""


class PolicyRunner(Consumer):
    """Runs one policy of a service."""

    transient: ClassVar[tuple[type[Exception], ...]] = (
        *kafka.TRANSIENT,
        PersistenceError,
        mongo.MongoError,
        Unavailable,
    )
    stored_in: ClassVar[str] = "postgresql"

    def __init__(
        self,
        policy: Policy,
        registry: Registry,
        recorder: Recorder,
        reactions: Reactions,
        store: CommandStore,
        authenticator: Authenticator,
        bootstrap: str,
        instance: str,
    ) -> None:
        super().__init__(policy.name, policy.topics, bootstrap, instance)
        self._reader = RecordReader(registry, policy.reactions, authenticator)
        self._reactions = reactions
        self._policy_store = PolicyStore(policy.name, recorder)
        self._store = store

    async def prepare(self) -> None:
        """The store's tables exist since it was opened."""

    async def standing(self, places: Iterable[TopicPartition]) -> Standing:
        return await asyncio.to_thread(self._policy_store.standing, set(places))

    async def apply(
        self, records: Sequence[ConsumerRecord], standing: Standing, because: str | None = None
    ) -> Progress:
        read = [self._reader.read(record) for record in records]
        if records and all(inbound.unhandled is not None for inbound in read):
            progress = Progress(standing)
            deliver(read, progress, _no_effect)
            progress.deferred = not progress.has_effect
            if progress.deferred:
                return progress
        inbounds = await self._reactions.opened(read)
        batch = _Batch(self._reactions, self._policy_store, inbounds, standing, because, self._tracing)
        try:
            await self._store.transact(batch.decide)
        except GuardFailedError as moved:
            raise CursorMovedError(str(moved)) from moved
        except REFUSED_BY_THE_STORE as refusal:
            raise CannotStoreError(f"the event store refuses what came of it: {type(refusal).__name__}") from refusal
        except IntegrityError as conflict:
            if len(records) == 1:
                raise
            raise CannotStoreError("its events conflict with what is stored") from conflict
        passing(CrashPoint.POLICY_AFTER_COMMIT)
        for aside in batch.progress.set_aside:
            ADAPTER_RECORDS_REFUSED.labels(topic=aside.record.topic).inc()
        return batch.progress

    async def lot_size(self) -> LotSize:
        return await asyncio.to_thread(self._policy_store.size)


def _no_effect(inbound: Inbound, _: Recorded[Event]) -> None:
    raise AssertionError(f"an event of type {inbound.type_name} is not handled")


class _Batch:
    """One batch's way through the writer; decided anew after a version conflict."""

    def __init__(
        self,
        reactions: Reactions,
        store: PolicyStore,
        inbounds: Sequence[Inbound],
        standing: Standing,
        because: str | None,
        processing: Processing,
    ) -> None:
        self._reactions = reactions
        self._store = store
        self._inbounds = inbounds
        self._standing = standing
        self._because = because
        self._processing = processing
        self.progress = Progress(standing)

    def decide(self, staging: Staging) -> Sequence[Statement]:
        """Stage every reaction of the batch; returns the cursors' compare-and-sets, and what goes with them."""
        progress = self.progress = Progress(self._standing)
        effect = self._reactions.effect_on(staging, self._inbounds, self._processing)
        deliver(self._inbounds, progress, effect, self._because)
        passing(CrashPoint.POLICY_DECIDED)
        return [
            *self._store.moves(progress.before, progress.cursors),
            *self._store.park(progress.parked),
            *self._store.set_aside(progress.set_aside),
        ]
