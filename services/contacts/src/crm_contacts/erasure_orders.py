"""Orders the steps of an erasure from all services, on crm.erasures (docs/adr/0020)."""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from uuid import UUID

from crm_contacts.projections import Contacts, ErasureRow
from crm_events.contacts import PartyResolved
from crm_events.erasures import MAX_SUBJECTS, ErasureRecord, ErasureStep, ErasureStepOrdered, SubjectsErased
from crm_platform.backoff import Backoff
from crm_platform.erasure.erasure_log import Cause, ErasureLog
from crm_platform.erasure.ordered_erasures import OrderedErasure, OrderedErasures
from crm_platform.erasure.steps import AWAY
from crm_platform.event_store.application import EventStore
from crm_platform.event_store.lookup import FoundBy
from crm_platform.live_read_model import LiveReadModel
from crm_platform.logging import get_logger
from crm_platform.metrics import ERASURE_OLDEST_SECONDS, ERASURE_REQUEST_OLDEST_SECONDS, ERASURES_OPEN
from crm_platform.parts import Parts

ANSWERS_OF_CONTACT = FoundBy(PartyResolved, "contact_id")
"""Which leads and tickets are about a contact."""
LOOK_SECONDS = 0.5

log = get_logger(__name__)


class ErasureOrders:
    """Orders what is due and was not ordered yet, for ever. Ordering twice changes nothing."""

    name = "contacts.erasure-orders"
    ready = True
    alive = True

    def __init__(
        self, erasures: LiveReadModel, ordered: LiveReadModel, event_store: EventStore, erasure_log: ErasureLog
    ) -> None:
        self._erasures = erasures
        self._ordered = ordered
        self._event_store = event_store
        self._log = erasure_log

    async def run(self) -> None:
        """What is away is waited for."""
        backoff = Backoff()
        while True:
            try:
                await self._order_all()
                backoff.succeeded()
                await asyncio.sleep(LOOK_SECONDS)
            except AWAY as away:
                log.warning("erasures_not_ordered", exc_info=away)
                await backoff.wait()

    async def _order_all(self) -> None:
        erasures = await self._erasures.current()
        unfinished = await erasures.find(ErasureRow, {"completed_at": None, "withdrawn_at": None})
        due = [erasure for erasure in unfinished if erasure.ordered is not None]
        _measure(unfinished, due)
        for erasure in due:
            step = ErasureStep(str(erasure.ordered))
            if not await self._was_ordered(erasure.id, step):
                await self._order(UUID(erasure.id), step, Cause(erasure.cause, erasure.story))

    async def _was_ordered(self, contact_id: str, step: ErasureStep) -> bool:
        """What is on the topic is the memory of what was ordered."""
        found = await (await self._ordered.current()).find(OrderedErasure, {"_id": contact_id})
        return any(row.has_order(step) for row in found)

    async def _order(self, contact_id: UUID, step: ErasureStep, cause: Cause) -> None:
        now = datetime.now(UTC)
        records: list[ErasureRecord] = []
        if step is ErasureStep.DESTROY:
            # Nothing is added to what is found here: contacts answers nobody with a contact that is erased.
            subjects = await asyncio.to_thread(self._subjects, contact_id)
            records += _named(contact_id, subjects, now)
        order = ErasureStepOrdered(occurred_at=now, contact_id=contact_id, step=step)
        await self._log.write((*records, order), cause)
        log.info("erasure_ordered", contact_id=str(contact_id), step=step.value)

    def _subjects(self, contact_id: UUID) -> list[UUID]:
        """The contact, and the leads and tickets that are about it."""
        answers = self._event_store.found(ANSWERS_OF_CONTACT, contact_id)
        causes = [answer.data.cause_id for answer in answers if isinstance(answer.data, PartyResolved)]
        return [contact_id, *dict.fromkeys(causes)]


def erasure_orders(parts: Parts) -> ErasureOrders:
    """Made from what a process of contacts has opened."""
    erasures, ordered = parts.read_models[Contacts], parts.read_models[OrderedErasures]
    return ErasureOrders(erasures, ordered, parts.event_store, parts.erasure_log)


def _named(contact_id: UUID, subjects: list[UUID], now: datetime) -> Iterator[SubjectsErased]:
    for first in range(0, len(subjects), MAX_SUBJECTS):
        page = tuple(subjects[first : first + MAX_SUBJECTS])
        yield SubjectsErased(occurred_at=now, contact_id=contact_id, subjects=page)


def _measure(unfinished: list[ErasureRow], due: list[ErasureRow]) -> None:
    ERASURES_OPEN.set(len(due))
    ERASURE_OLDEST_SECONDS.set(_oldest_seconds(row.erased_at for row in due))
    ERASURE_REQUEST_OLDEST_SECONDS.set(_oldest_seconds(row.requested_at for row in unfinished))


def _oldest_seconds(instants: Iterable[datetime | None]) -> float:
    oldest = min((instant for instant in instants if instant), default=None)
    return 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
