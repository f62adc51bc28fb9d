"""Random histories of some customers, sealed as they are stored, and the same with one of the customers erased."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import NamedTuple
from uuid import UUID

from hypothesis import strategies as st
from tests.erasure.affairs import Affair, acquaintances, campaigns, interactions, leads, tickets

from crm_contacts.domain import Contact
from crm_contacts.erasure import SERVICES
from crm_events.contacts import (
    ContactErased,
    ContactUpdated,
    ErasureGround,
    InteractionLogged,
    PartyResolved,
    PartyUnknown,
    UnknownReason,
)
from crm_events.envelope import Recorded, event_id
from crm_events.erasures import ErasureStep
from crm_events.event import Event, Sealed
from crm_events.sales import LeadLinked, LeadPartyUnknown
from crm_events.service import TicketLinked, TicketPartyUnknown
from crm_marketing.domain import Campaign
from crm_platform.testing import SOME_TIME, recorded, story_id

CUSTOMERS = [story_id(f"customer {n}") for n in range(3)]
ACKNOWLEDGED = list(product(SERVICES, ErasureStep))

History = list[Recorded[Event]]


class ErasedCustomer(NamedTuple):
    """A history in which nobody was erased, and the same with a customer erased in the middle of it.

    The customer says nothing more after the erasure in either, for that would be somebody else's fact in one of them.
    """

    customer: UUID
    everybody: list[UUID]
    untouched: History
    erased: History


@st.composite
def histories(draw: st.DrawFn, customers: list[UUID]) -> History:
    """All affairs of these customers, in any order between each other."""
    known = [Campaign(story_id(f"campaign {n}")) for n in range(2)]
    affairs = [
        *(draw(acquaintances(customer)) for customer in customers),
        *(draw(campaigns(campaign, customers)) for campaign in known),
        *(draw(interactions(f"touch {n}", customers, known)) for n in range(draw(st.integers(0, 6)))),
        *(draw(leads(f"lead {n}", customers)) for n in range(draw(st.integers(0, 4)))),
        *(draw(tickets(f"ticket {n}", customers)) for n in range(draw(st.integers(0, 3)))),
    ]
    return _in_turn(draw(st.permutations([affair for affair in affairs for _ in affair.events])))


@st.composite
def erased_customers(draw: st.DrawFn) -> ErasedCustomer:
    """Any history with any of its customers erased at any moment since it became known."""
    everybody = CUSTOMERS[: draw(st.integers(1, len(CUSTOMERS)))]
    history, customer = draw(histories(everybody)), draw(st.sampled_from(everybody))
    known = next(n for n, event in enumerate(history, 1) if event.subject == customer)
    moment = draw(st.integers(known, len(history)))
    before, after = history[:moment], [event for event in history[moment:] if not _is_said_by(customer, event)]
    return ErasedCustomer(
        customer,
        everybody,
        untouched=[*before, *after],
        erased=[*before, *draw(_with_erasure(customer, before, _without(customer, after)))],
    )


def _in_turn(turns: Iterable[Affair]) -> History:
    """Each affair as often as it has events: one event a minute, sealed."""
    told, lengths, history = Counter[int](), Counter[UUID](), History()
    for affair in turns:
        stream, event = affair.events[told[id(affair)]]
        told[id(affair)] += 1
        lengths[stream] += 1
        time = SOME_TIME + timedelta(minutes=len(history))
        history.append(
            recorded(_sealed(event, stream, lengths[stream]), subject=stream, sequence=lengths[stream], time=time)
        )
    return history


def _sealed(event: Event, stream: UUID, sequence: int) -> Event:
    if event.personal is None:
        return event
    subject = event.data_subject(stream)
    key = story_id(f"key of {subject}")
    return event.with_personal(Sealed(event=event_id(stream, sequence), subject=subject, key=key, box="c2VhbGVk"))


def _is_said_by(customer: UUID, event: Recorded[Event]) -> bool:
    match event.data:
        case ContactUpdated():
            return event.subject == customer
        case InteractionLogged(contact_id=contact):
            return contact == customer
    return False


@st.composite
def _with_erasure(draw: st.DrawFn, customer: UUID, before: History, after: History) -> History:
    """What is recorded after that moment, with the erasure: it begins at once, and is acknowledged by and by."""
    erasure = draw(_erasures(customer, before))
    begun = 1 + next(n for n, event in enumerate(erasure) if isinstance(event.data, ContactErased))
    ends = st.integers(0, len(after))
    places = sorted(draw(st.lists(ends, min_size=len(erasure) - begun, max_size=len(erasure) - begun)))
    later = list(zip(places, erasure[begun:], strict=True))
    told = erasure[:begun]
    for n in range(len(after) + 1):
        told += [event for place, event in later if place == n]
        told += after[n : n + 1]
    return told


@st.composite
def _erasures(draw: st.DrawFn, customer: UUID, before: History) -> History:
    """Asked for, maybe withdrawn and asked for again, confirmed, and acknowledged in any order."""
    at: datetime = before[-1].time
    contact = Contact.fold(customer, [event for event in before if event.subject == customer])
    if draw(st.booleans()):
        contact.erase("carl", ErasureGround.ASKED, at)
        contact.withdraw_erasure("dora", at)
    contact.erase("carl", draw(st.sampled_from(ErasureGround)), at)
    contact.erase("dora", None, at)
    for service, step in draw(st.permutations(ACKNOWLEDGED)):
        contact.acknowledge_erasure(service, step, at)
    first = contact.version - len(contact.pending) + 1
    return [recorded(event, subject=customer, sequence=n, time=at) for n, event in enumerate(contact.pending, first)]


def _without(customer: UUID, after: History) -> History:
    """The same, for contacts that does not know the customer any more."""
    asked = {
        event.data.cause_id
        for event in after
        if isinstance(event.data, PartyResolved) and event.data.contact_id == customer
    }
    return [replace(event, data=_unknown(event, asked)) for event in after]


def _unknown(event: Recorded[Event], asked: set[UUID]) -> Event:
    match event.data:
        case PartyResolved(cause_id=cause_id, cause=cause, occurred_at=at) if cause_id in asked:
            return PartyUnknown(cause=cause, cause_id=cause_id, reason=UnknownReason.ERASED, occurred_at=at)
        case LeadLinked(occurred_at=at) if event.subject in asked:
            return LeadPartyUnknown(reason=UnknownReason.ERASED, occurred_at=at)
        case TicketLinked(occurred_at=at) if event.subject in asked:
            return TicketPartyUnknown(reason=UnknownReason.ERASED, occurred_at=at)
    return event.data
