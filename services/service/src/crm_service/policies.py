"""When another service's fact means work for the service desk."""

from collections.abc import Iterable
from uuid import UUID

from crm_events.contacts import Cause, PartyResolved, PartyUnknown, UnknownReason
from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_events.topics import CONTACTS
from crm_platform.policy import Policy, when
from crm_platform.work import UnitOfWork
from crm_service.domain import Ticket


class LinkTickets(Policy):
    """Contacts' answer gives each ticket that named a party its contact."""

    name, topics = "service.link-tickets", (CONTACTS,)

    def streams(self, event: Recorded[Event]) -> Iterable[UUID]:
        match event.data:
            case PartyResolved(cause=Cause.TICKET, cause_id=ticket_id):
                return (ticket_id,)
            case PartyUnknown(cause=Cause.TICKET, cause_id=ticket_id):
                return (ticket_id,)
        return ()

    @when(PartyResolved)
    def link(self, event: Recorded[PartyResolved], work: UnitOfWork) -> None:
        answer = event.data
        if answer.cause is Cause.TICKET:
            ticket = work.get(Ticket, answer.cause_id)
            ticket.link(answer.contact_id, answer.occurred_at)
            work.save(ticket)

    @when(PartyUnknown)
    def miss_party(self, event: Recorded[PartyUnknown], work: UnitOfWork) -> None:
        answer = event.data
        if answer.cause is Cause.TICKET:
            ticket = work.get(Ticket, answer.cause_id)
            ticket.miss_party(answer.reason, answer.occurred_at)
            work.save(ticket)
            if answer.reason is UnknownReason.ERASED:
                work.destroy_key(ticket.id)
