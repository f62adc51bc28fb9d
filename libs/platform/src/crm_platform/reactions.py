"""A policy's reactions to a batch of events: opened, decided and staged, live and when parked ones are tried again."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from eventsourcing.persistence import PersistenceError

from crm_events.envelope import Recorded, UnknownEventError, UnreadableEventError
from crm_events.event import Event, Sealed
from crm_platform.delivery import Effect
from crm_platform.errors import Unavailable
from crm_platform.event_store.committer import Committer
from crm_platform.event_tracing import NOT_TRACED, Processing
from crm_platform.inbound import Inbound
from crm_platform.keyring import Keyring
from crm_platform.logging import get_logger
from crm_platform.policy import Policy
from crm_platform.sealing import SealBrokenError
from crm_platform.work import Staging, UnitOfWork

log = get_logger(__name__)

Clock = Callable[[], datetime]


class Reactions:
    """What one policy does to its service's own streams."""

    def __init__(self, policy: Policy, committer: Committer, keyring: Keyring, clock: Clock) -> None:
        self._policy = policy
        self._committer = committer
        self._keyring = keyring
        self._clock = clock

    async def opened(self, inbounds: Sequence[Inbound]) -> list[Inbound]:
        """The events with the personal blocks open that the policy needs, their keys fetched in one query; still sealed
        where the key is erased.
        """
        blocks = (self._block(inbound.event) for inbound in inbounds)
        await self._keyring.prefetch(block.key for block in blocks if block is not None)
        return [self._opened(inbound) for inbound in inbounds]

    def _block(self, event: Recorded[Event] | None) -> Sealed | None:
        """The sealed block of an event, if the policy needs it."""
        if event is None or type(event.data) not in self._policy.opens:
            return None
        block = event.data.personal
        return block if isinstance(block, Sealed) else None

    def _opened(self, inbound: Inbound) -> Inbound:
        event = inbound.event
        if event is None or self._block(event) is None:
            return inbound
        try:
            return inbound.with_event(replace(event, data=self._keyring.opened_event(event.data)))
        except SealBrokenError as broken:
            return inbound.refused(str(broken))

    def effect_on(self, staging: Staging, inbounds: Iterable[Inbound], processing: Processing = NOT_TRACED) -> Effect:
        """The effect of the batch's events on what is staged; called in the writer thread.

        The streams that the batch will load are loaded in one query. What is staged goes on in the event's trace.
        """
        events = [inbound.event for inbound in inbounds if inbound.event is not None]
        try:
            staging.prefetch(stream for event in events for stream in self._policy.streams(event))
        except (UnknownEventError, UnreadableEventError) as unreadable:
            # Each reaction then loads its own streams, and the one that needs this stream parks its key.
            log.error("stream_unreadable", policy=self._policy.name, exc_info=unreadable)
        return lambda inbound, event: self._react(event, staging, processing.traceparent(inbound.record))

    def _react(self, event: Recorded[Event], staging: Staging, traceparent: str | None = None) -> None:
        """React to one event; leaves nothing behind when the reaction raises."""
        work = UnitOfWork(
            staging,
            self._committer.open,
            now=self._clock(),
            actor=f"policy:{self._policy.name}",
            causation=str(event.id),
            correlation=event.correlation or str(event.id),
            traceparent=traceparent,
        )
        try:
            self._policy.react(event, work)
        except PersistenceError as away:
            work.discard()
            raise Unavailable("The event store does not answer.") from away
        except BaseException:
            work.discard()
            raise
        work.commit()
