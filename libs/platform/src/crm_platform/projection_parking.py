"""Resolving what a read model has parked: in order, and while live traffic goes on (docs/adr/0011).

Each step is one transaction that first marks the partition's cursor. A batch of the live projector that began before
finds its guard failed and begins again, so that neither sees half of what the other does. What is resolved is what the
live generation has parked; should another one become live meanwhile, the step is done there (docs/adr/0016).
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from crm_events.registry import Registry
from crm_platform import mongo
from crm_platform.authenticity import Authenticator
from crm_platform.delivery import redeliver
from crm_platform.folding import Folding
from crm_platform.generations import Generations, NotLiveError
from crm_platform.inbound import RecordReader
from crm_platform.metrics import PARKED_RESOLVED
from crm_platform.parking import SHOWN_EVENTS, Discarded, ParkedEvent, ParkedKey, Retried, not_parked
from crm_platform.projection import Projection
from crm_platform.projection_store import DocumentRefusedError, ProjectionStore
from crm_platform.wakeup import Wakeup

T = TypeVar("T")


class ProjectionParking:
    """The parking lot of one projection; see `ParkingLot`."""

    def __init__(
        self,
        projection: Projection,
        registry: Registry,
        database: mongo.Database,
        authenticator: Authenticator,
        applied: Wakeup,
    ) -> None:
        self.consumer = projection.identity
        self._projection = projection
        self._reader = RecordReader(registry, projection.folds, authenticator)
        self._database = database
        self._generations = Generations(projection, database)
        self._applied = applied

    async def _live(self) -> ProjectionStore:
        live = await self._generations.writable()
        return ProjectionStore(live, self._database, partial(mongo.in_transaction, self._database.client))

    async def _in_live(self, step: Callable[[ProjectionStore, mongo.Session], T]) -> T:
        """Do the step in one transaction, in the generation that is live when it is committed."""
        while True:
            store = await self._live()
            with suppress(NotLiveError):
                return await store.in_transaction(partial(self._if_live, store, step))

    def _if_live(
        self, store: ProjectionStore, step: Callable[[ProjectionStore, mongo.Session], T], session: mongo.Session
    ) -> T:
        self._generations.must_be_live(store.generation, session)
        return step(store, session)

    async def keys(self) -> Sequence[ParkedKey]:
        return await (await self._live()).parking.keys()

    async def events(self, topic: str, key: str) -> Sequence[ParkedEvent]:
        return await asyncio.to_thread((await self._live()).parking.events, topic, key, SHOWN_EVENTS)

    async def _count(self, topic: str, key: str) -> int:
        return await asyncio.to_thread((await self._live()).parking.count, topic, key)

    async def retry(self, topic: str, key: str) -> Retried:
        """See `ParkingLot`. Raises NotFound."""
        if not await self._count(topic, key):
            raise not_parked(self.consumer, topic, key)
        applied = 0
        while True:
            step = await self._retry_some(topic, key)
            applied += step.applied
            if step.reason is not None or not step.remaining:
                return Retried(applied, step.remaining, step.reason)

    async def _retry_some(self, topic: str, key: str) -> Retried:
        try:
            return await self._retried(topic, key, SHOWN_EVENTS)
        except DocumentRefusedError:
            # One of them makes a document that cannot be kept: the ones before it are applied one by one.
            try:
                return await self._retried(topic, key, 1)
            except DocumentRefusedError as refusal:
                return Retried(0, await self._count(topic, key), str(refusal))

    async def _retried(self, topic: str, key: str, limit: int) -> Retried:
        """Apply the first events, up to the first that cannot be, in one transaction."""
        outcome = await self._in_live(lambda store, session: self._step(store, topic, key, limit, session))
        PARKED_RESOLVED.labels(consumer=self.consumer, action="retried").inc(outcome.applied)
        self._applied.set()
        return outcome

    def _step(self, store: ProjectionStore, topic: str, key: str, limit: int, session: mongo.Session) -> Retried:
        _mark(store, topic, key, session)
        events = store.parking.events(topic, key, limit, session)
        folding = Folding(self._projection, [self._reader.read(event.record()) for event in events])
        folding.use(store.load_in(session, folding.targets()))
        done, reason = redeliver(folding.inbounds, folding.effect)
        store.write_documents(folding, session)
        store.parking.take(events[:done], session)
        if reason is not None:
            store.parking.tell_reason(events[done], reason, session)
        return Retried(done, store.parking.count(topic, key, session), reason)

    async def discard(self, topic: str, key: str, *, actor: str, reason: str, everything: bool) -> Discarded:
        """See `ParkingLot`. Raises NotFound."""

        def step(store: ProjectionStore, session: mongo.Session) -> Discarded:
            _mark(store, topic, key, session)
            waiting = store.parking.count(topic, key, session)
            events = store.parking.events(topic, key, waiting if everything else 1, session)
            if events:
                store.parking.discard(events, actor=actor, reason=reason, now=datetime.now(UTC), session=session)
            return Discarded(len(events), waiting - len(events))

        outcome = await self._in_live(step)
        if not outcome.discarded:
            raise not_parked(self.consumer, topic, key)
        PARKED_RESOLVED.labels(consumer=self.consumer, action="discarded").inc(outcome.discarded)
        return outcome


def _mark(store: ProjectionStore, topic: str, key: str, session: mongo.Session) -> None:
    """The first write of the transaction: from here on no batch of these partitions can be stored in between."""
    for place in store.parking.places(topic, key):
        store.cursors.resolve(place, session)
