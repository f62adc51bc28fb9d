"""When another service's fact means work for sales."""

from collections.abc import Iterable
from uuid import UUID

from crm_events.contacts import Cause, PartyResolved, PartyUnknown, UnknownReason
from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_events.topics import CONTACTS
from crm_platform.policy import Policy, when
from crm_platform.work import UnitOfWork
from crm_sales.domain.lead import Lead


class LinkLeads(Policy):
    """Contacts' answer gives each lead that named a party its contact."""

    name, topics = "sales.link-leads", (CONTACTS,)

    def streams(self, event: Recorded[Event]) -> Iterable[UUID]:
        match event.data:
            case PartyResolved(cause=Cause.LEAD, cause_id=lead_id):
                return (lead_id,)
            case PartyUnknown(cause=Cause.LEAD, cause_id=lead_id):
                return (lead_id,)
        return ()

    @when(PartyResolved)
    def link(self, event: Recorded[PartyResolved], work: UnitOfWork) -> None:
        answer = event.data
        if answer.cause is Cause.LEAD:
            lead = work.get(Lead, answer.cause_id)
            lead.link(answer.contact_id, answer.occurred_at)
            work.save(lead)

    @when(PartyUnknown)
    def miss_party(self, event: Recorded[PartyUnknown], work: UnitOfWork) -> None:
        answer = event.data
        if answer.cause is Cause.LEAD:
            lead = work.get(Lead, answer.cause_id)
            lead.miss_party(answer.reason, answer.occurred_at)
            work.save(lead)
            if answer.reason is UnknownReason.ERASED:
                work.destroy_key(lead.id)
