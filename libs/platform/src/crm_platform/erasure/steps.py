"""Takes the steps of erasures in one service, and says so when they are taken (docs/adr/0020)."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import psycopg
from eventsourcing.persistence import PersistenceError

from crm_events.erasures import ErasureStep, ErasureStepTaken
from crm_platform import kafka, mongo
from crm_platform.backoff import Backoff
from crm_platform.erasure.caught_up import Followed, caught_up
from crm_platform.erasure.erasure_log import Cause, ErasureLog
from crm_platform.erasure.ordered_erasures import OrderedErasure
from crm_platform.event_store.key_ledger import KeyLedger
from crm_platform.keyring import Keyring
from crm_platform.live_read_model import LiveReadModel
from crm_platform.logging import get_logger
from crm_platform.metrics import ERASURE_STEPS_DUE
from crm_platform.wakeup import Wakeup

LOOK_SECONDS = 1.0
AWAY = (*kafka.TRANSIENT, mongo.MongoError, PersistenceError, psycopg.Error)

log = get_logger(__name__)


class Eraser(Protocol):
    """Something of a service that keeps personal data other than sealed under the person's key."""

    async def erase(self, contact_id: UUID) -> None:
        """Delete what it keeps of an erased contact; doing it again changes nothing. Raises what is away."""
        ...


class ErasureSteps:
    """Takes each step that is ordered once everything in the service is so far. Two at once are harmless."""

    ready = True
    alive = True

    def __init__(
        self,
        service: str,
        orders: LiveReadModel,
        ordered: Wakeup,
        followed: Sequence[Followed],
        keyring: Keyring,
        ledger: KeyLedger | None,
        erasers: Sequence[Eraser],
        erasure_log: ErasureLog,
        bootstrap: str,
    ) -> None:
        self.name = f"{service}.erasure-steps"
        self._service = service
        self._orders = orders
        self._ordered = ordered
        self._followed = followed
        self._keyring = keyring
        self._ledger = ledger
        self._erasers = erasers
        self._log = erasure_log
        self._bootstrap = bootstrap
        self._said: set[tuple[str, ErasureStep]] = set()

    async def run(self) -> None:
        """Take steps for ever. What is away is waited for."""
        backoff = Backoff()
        while True:
            try:
                await self._take_all()
                backoff.succeeded()
            except AWAY as away:
                log.warning("erasure_steps_not_taken", exc_info=away)
                await backoff.wait()
            await self._ordered.wait(LOOK_SECONDS)

    async def _take_all(self) -> None:
        orders = await self._orders.current()
        due = await orders.find(OrderedErasure, {"open": True})
        ERASURE_STEPS_DUE.set(len(due))
        for erasure in due:
            for step in erasure.due():
                if (erasure.id, step) in self._said:
                    continue
                if not await self._taken(UUID(erasure.id), step):
                    break
                await self._say(erasure, step)
                self._said.add((erasure.id, step))
        self._said &= {(erasure.id, step) for erasure in due for step in erasure.due()}

    async def _taken(self, contact_id: UUID, step: ErasureStep) -> bool:
        if step is ErasureStep.FORGET:
            await self._keyring.read_to_the_end()
            return True
        await self._erase(contact_id)
        if not await caught_up(self._followed, self._bootstrap, str(contact_id)):
            log.warning("erasure_waits_for_consumers", contact_id=str(contact_id))
            return False
        # What was read only now may have been the person's, too, and be kept by the same.
        await self._erase(contact_id)
        return await self._marks_are_published()

    async def _erase(self, contact_id: UUID) -> None:
        for eraser in self._erasers:
            await eraser.erase(contact_id)

    async def _marks_are_published(self) -> bool:
        return self._ledger is None or not await asyncio.to_thread(self._ledger.unpublished)

    async def _say(self, erasure: OrderedErasure, step: ErasureStep) -> None:
        contact_id = UUID(erasure.id)
        taken = ErasureStepTaken(occurred_at=datetime.now(UTC), contact_id=contact_id, service=self._service, step=step)
        await self._log.write((taken,), Cause(erasure.cause, erasure.story))
        log.info("erasure_step_taken", contact_id=erasure.id, step=step.value)
