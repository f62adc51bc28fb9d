"""Resolving what a read model has parked: in order, and while live traffic goes on (docs/adr/0011).

Each step is one transaction that first marks the partition's cursor. A batch of the live projector that began before
finds its guard failed and begins again, so that neither sees half of what the other does.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from crm_events.registry import Registry
from crm_platform import mongo
from crm_platform.authenticity import Authenticator
from crm_platform.delivery import redeliver
from crm_platform.folding import Folding
from crm_platform.inbound import RecordReader
from crm_platform.metrics import PARKED_RESOLVED
from crm_platform.parking import SHOWN_EVENTS, Discarded, ParkedEvent, ParkedKey, Retried, not_parked
from crm_platform.projection import Projection
from crm_platform.projection_store import DocumentRefusedError, ProjectionStore
from crm_platform.wakeup import Wakeup


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
        self._store = ProjectionStore(projection, database, partial(mongo.in_transaction, database.client))
        self._lot = self._store.parking
        self._applied = applied

    async def keys(self) -> Sequence[ParkedKey]:
        return await self._lot.keys()

    async def events(self, topic: str, key: str) -> Sequence[ParkedEvent]:
        return await asyncio.to_thread(self._lot.events, topic, key, SHOWN_EVENTS)

    async def retry(self, topic: str, key: str) -> Retried:
        """See `ParkingLot`. Raises NotFound."""
        if not await asyncio.to_thread(self._lot.count, topic, key):
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
                return Retried(0, await asyncio.to_thread(self._lot.count, topic, key), str(refusal))

    async def _retried(self, topic: str, key: str, limit: int) -> Retried:
        """Apply the first events, up to the first that cannot be, in one transaction."""
        outcome = Retried(0, 0, None)

        def work(session: mongo.Session) -> None:
            nonlocal outcome
            outcome = self._step(topic, key, limit, session)

        await self._store.in_transaction(work)
        PARKED_RESOLVED.labels(consumer=self.consumer, action="retried").inc(outcome.applied)
        self._applied.set()
        return outcome

    def _step(self, topic: str, key: str, limit: int, session: mongo.Session) -> Retried:
        self._mark(topic, key, session)
        events = self._lot.events(topic, key, limit, session)
        folding = Folding(self._projection, [self._reader.read(event.record()) for event in events])
        folding.use(self._store.load_in(session, folding.targets()))
        done, reason = redeliver(folding.inbounds, folding.effect)
        self._store.write_documents(folding, session)
        self._lot.take(events[:done], session)
        if reason is not None:
            self._lot.tell_reason(events[done], reason, session)
        return Retried(done, self._lot.count(topic, key, session), reason)

    def _mark(self, topic: str, key: str, session: mongo.Session) -> None:
        """The first write of the transaction: from here on no batch of these partitions can be stored in between."""
        for place in self._lot.places(topic, key):
            self._store.cursors.resolve(place, session)

    async def discard(self, topic: str, key: str, *, actor: str, reason: str, everything: bool) -> Discarded:
        """See `ParkingLot`. Raises NotFound."""
        discarded = remaining = 0

        def work(session: mongo.Session) -> None:
            nonlocal discarded, remaining
            self._mark(topic, key, session)
            waiting = self._lot.count(topic, key, session)
            events = self._lot.events(topic, key, waiting if everything else 1, session)
            if events:
                self._lot.discard(events, actor=actor, reason=reason, now=datetime.now(UTC), session=session)
            discarded, remaining = len(events), waiting - len(events)

        await self._store.in_transaction(work)
        if not discarded:
            raise not_parked(self.consumer, topic, key)
        PARKED_RESOLVED.labels(consumer=self.consumer, action="discarded").inc(discarded)
        return Discarded(discarded, remaining)
