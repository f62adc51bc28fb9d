"""Resolving what a policy has parked: in order, and while live traffic goes on (docs/adr/0011).

Each step is one event-store transaction that first marks the partition's cursor. A batch of the live policy that was
decided before finds its guard failed and begins again.
"""

import asyncio
from collections.abc import Callable, Sequence

from crm_events.registry import Registry
from crm_platform.authenticity import Authenticator
from crm_platform.delivery import redeliver
from crm_platform.event_store.recorder import GuardFailedError, Recorder, Statement
from crm_platform.event_store.store import CommandStore
from crm_platform.inbound import Inbound, RecordReader
from crm_platform.metrics import PARKED_RESOLVED
from crm_platform.parking import SHOWN_EVENTS, Discarded, ParkedEvent, ParkedKey, Retried, not_parked
from crm_platform.policy import Policy
from crm_platform.policy_runner import REFUSED_BY_THE_STORE
from crm_platform.policy_store import BEFORE_ALL, PolicyStore
from crm_platform.reactions import Reactions
from crm_platform.work import Staging


class PolicyParking:
    """The parking lot of one policy; see `ParkingLot`."""

    def __init__(
        self,
        policy: Policy,
        registry: Registry,
        recorder: Recorder,
        reactions: Reactions,
        store: CommandStore,
        authenticator: Authenticator,
    ) -> None:
        self.consumer = policy.name
        self._reader = RecordReader(registry, policy.reactions, authenticator)
        self._reactions = reactions
        self._lot = PolicyStore(policy.name, recorder)
        self._store = store

    async def keys(self) -> Sequence[ParkedKey]:
        return await asyncio.to_thread(self._lot.keys)

    async def events(self, topic: str, key: str) -> Sequence[ParkedEvent]:
        return await asyncio.to_thread(self._lot.events, topic, key, SHOWN_EVENTS)

    async def retry(self, topic: str, key: str) -> Retried:
        """See `ParkingLot`. Raises NotFound."""
        applied, limit = 0, SHOWN_EVENTS
        waiting = await self.events(topic, key)
        if not waiting:
            raise not_parked(self.consumer, topic, key)
        while waiting:
            step = _Step(self._lot, self._reactions, await self._opened(waiting[:limit]))
            try:
                await self._store.transact(step.decide)
            except GuardFailedError:
                # Somebody else resolves the same key: what is left after that is tried.
                waiting = await self.events(topic, key)
                continue
            except REFUSED_BY_THE_STORE as refusal:
                if limit == 1:
                    reason = f"the event store refuses what came of it: {type(refusal).__name__}"
                    return Retried(applied, await self._count(topic, key), reason)
                limit = 1
                continue
            applied += step.done
            PARKED_RESOLVED.labels(consumer=self.consumer, action="retried").inc(step.done)
            if step.reason is not None:
                return Retried(applied, await self._count(topic, key), step.reason)
            waiting = await self.events(topic, key)
        return Retried(applied, 0, None)

    async def _opened(self, events: Sequence[ParkedEvent]) -> list[tuple[ParkedEvent, Inbound]]:
        inbounds = await self._reactions.opened([self._reader.read(event.record()) for event in events])
        return list(zip(events, inbounds, strict=True))

    async def _count(self, topic: str, key: str) -> int:
        return await asyncio.to_thread(self._lot.count, topic, key)

    async def discard(self, topic: str, key: str, *, actor: str, reason: str, everything: bool) -> Discarded:
        """See `ParkingLot`. Raises NotFound."""
        while True:
            waiting = await self._count(topic, key)
            events = await asyncio.to_thread(self._lot.events, topic, key, waiting if everything else 1)
            if not events:
                raise not_parked(self.consumer, topic, key)
            statements = [*self._lot.resolve(events), *self._lot.discard(events, actor, reason)]
            if not await self._carried_out(statements):
                continue
            PARKED_RESOLVED.labels(consumer=self.consumer, action="discarded").inc(len(events))
            return Discarded(len(events), waiting - len(events))

    async def forget(self, topic: str, concerned: Callable[[Inbound], bool], *, actor: str, reason: str) -> int:
        """Delete the content of the events that are concerned, parked or discarded; returns how many those were.

        A parked one counts as discarded from now on; who decided that and why is recorded, what it said is not.
        """
        forgotten, after = 0, BEFORE_ALL
        while page := await asyncio.to_thread(self._lot.held, topic, after):
            events = [event for event in page if concerned(self._reader.read(event.record()))]
            statements = [*self._lot.resolve(events), *self._lot.forget(events, actor, reason)]
            if events and not await self._carried_out(statements):
                continue
            forgotten += len(events)
            after = page[-1].place.partition, page[-1].offset
        return forgotten

    async def _carried_out(self, statements: Sequence[Statement]) -> bool:
        """Whether all of them were, in one transaction: False where somebody else resolves the same events."""
        try:
            await self._store.transact(lambda _staging: statements)
        except GuardFailedError:
            return False
        return True


class _Step:
    """The first events of a key, on their way through the writer."""

    def __init__(self, lot: PolicyStore, reactions: Reactions, waiting: Sequence[tuple[ParkedEvent, Inbound]]) -> None:
        self._lot = lot
        self._reactions = reactions
        self._waiting = waiting
        self.done = 0
        self.reason: str | None = None

    def decide(self, staging: Staging) -> Sequence[Statement]:
        events = [event for event, _ in self._waiting]
        inbounds = [inbound for _, inbound in self._waiting]
        self.done, self.reason = redeliver(inbounds, self._reactions.effect_on(staging, inbounds))
        statements = [*self._lot.resolve(events), *self._lot.take(events[: self.done])]
        if self.reason is not None:
            statements.append(self._lot.tell_reason(events[self.done], self.reason))
        return statements
