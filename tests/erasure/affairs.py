"""What the services record of some customers: affairs of any course, as their own aggregates decide them."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from operator import methodcaller
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from crm_contacts.domain import Contact, Interaction, PartyAnswer
from crm_events.adapter import Channel, Direction, InteractionRecorded
from crm_events.contacts import Cause, UnknownReason, party_stream
from crm_events.event import Event
from crm_events.marketing import engagement_stream, enrolment_stream
from crm_events.parties import IdentifierIndex, IdentifierKind, Money, Note, Party, Profile
from crm_events.sales import DisqualificationReason, Inquiry, LossReason, OpportunityStage, OpportunityTitle
from crm_events.service import Priority, Reply, ReplyAuthor, TicketRequest
from crm_marketing.domain import Campaign, Engagement, Enrolment
from crm_platform.aggregate import Aggregate
from crm_platform.errors import Refusal
from crm_platform.testing import SOME_TIME, story_id
from crm_sales.domain.lead import Lead
from crm_sales.domain.opportunity import Opportunity
from crm_service.domain import Ticket

Decision = Callable[[Any], object]

MOMENTS = st.integers(0, 10**9).map(lambda ms: SOME_TIME - timedelta(milliseconds=ms))
SOURCES = st.sampled_from(["web", "fair"])
CURRENCIES = st.sampled_from(["EUR", "USD"])
AMOUNTS = st.decimals(0, 10**6, places=2, allow_nan=False, allow_infinity=False)
PRICES = st.builds(Money, amount=AMOUNTS, currency=CURRENCIES)
NOTES = st.sampled_from([None, Note(text="as told on the phone")])
SOMEBODY = Party(name="Ann")


def _calls(method: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Decision]:
    return st.builds(methodcaller, st.just(method), *arguments)


QUALIFY, CONVERT = _calls("qualify", st.integers(0, 100), MOMENTS), _calls("convert", MOMENTS)
DISQUALIFY = _calls("disqualify", st.sampled_from(DisqualificationReason), NOTES, MOMENTS)
LEAD_DECISIONS = st.tuples(QUALIFY, CONVERT) | st.lists(QUALIFY | CONVERT | DISQUALIFY, max_size=3)
MOVE = _calls("move_to", st.sampled_from(OpportunityStage), MOMENTS)
WIN, LOSE = _calls("win", st.none() | PRICES, MOMENTS), _calls("lose", st.sampled_from(LossReason), NOTES, MOMENTS)
DEAL_DECISIONS = st.tuples(MOVE, WIN) | st.lists(MOVE | WIN | LOSE, max_size=3)
TICKET_DECISIONS = st.lists(
    st.one_of(
        _calls("assign", st.sampled_from(["bob", "eve"]), MOMENTS),
        _calls("reply", st.just(Reply(body="It works again.")), st.sampled_from(ReplyAuthor), MOMENTS),
        _calls("resolve", NOTES, MOMENTS),
        _calls("reopen", NOTES, MOMENTS),
    ),
    max_size=5,
)


class Affair:
    """What happened in one affair, in order: the streams, and what was recorded in them, its personal blocks open."""

    def __init__(self) -> None:
        self.events: list[tuple[UUID, Event]] = []

    def save(self, *aggregates: Aggregate) -> None:
        for aggregate in aggregates:
            self.events += [(aggregate.id, event) for event in aggregate.pending]
            aggregate.pending.clear()

    def decide(self, aggregate: Aggregate, decisions: Iterable[Decision]) -> None:
        """What the aggregate refuses does not happen."""
        for decision in decisions:
            with suppress(Refusal):
                decision(aggregate)
        self.save(aggregate)

    def answer(self, asking: Lead | Ticket, cause: Cause, contact: UUID | None) -> None:
        """Contacts says who it is, or that it knows nobody, and whoever asked takes that down."""
        answer = PartyAnswer(party_stream(asking.id))
        if contact is None:
            answer.give_up(cause, asking.id, UnknownReason.NO_SUCH_CONTACT, SOME_TIME)
            asking.miss_party(UnknownReason.NO_SUCH_CONTACT, SOME_TIME)
        else:
            answer.resolve(cause, asking.id, contact, SOME_TIME)
            asking.link(contact, SOME_TIME)
        self.save(answer, asking)


def identifiers_of(contact: UUID) -> list[IdentifierIndex]:
    """All that this contact may have; nobody else has one of them."""
    kinds = (IdentifierKind.EMAIL, IdentifierKind.PHONE, IdentifierKind.COOKIE)
    return [IdentifierIndex(kind=kind, index=story_id(f"{kind} of {contact}")) for kind in kinds]


@st.composite
def acquaintances(draw: st.DrawFn, contact: UUID) -> Affair:
    """Somebody becomes known, and better known: each time with any of the identifiers."""
    affair, known, profile = Affair(), Contact(contact), Profile(name="Ann")
    identifiers = st.lists(st.sampled_from(identifiers_of(contact)), unique=True).map(tuple)
    known.register(draw(SOURCES), profile, draw(identifiers), draw(MOMENTS))
    for name in draw(st.sampled_from([(), ("Anne",), ("Anne", "Anna")])):
        before, profile = profile, Profile(name=name)
        known.update(before, profile, draw(identifiers), draw(MOMENTS))
    affair.save(known)
    return affair


@st.composite
def campaigns(draw: st.DrawFn, campaign: Campaign, contacts: list[UUID]) -> Affair:
    """A campaign, launched or not, and who is in it."""
    affair = Affair()
    campaign.create("Spring", draw(st.sampled_from(Channel)), draw(MOMENTS))
    affair.save(campaign)
    if draw(st.booleans()):
        campaign.launch(draw(MOMENTS))
        affair.save(campaign)
        for contact in draw(st.lists(st.sampled_from(contacts), unique=True)):
            enrolment = Enrolment(enrolment_stream(campaign.id, contact))
            enrolment.enrol(campaign, contact, draw(MOMENTS))
            affair.save(enrolment)
    return affair


@st.composite
def interactions(draw: st.DrawFn, name: str, contacts: list[UUID], known: list[Campaign]) -> Affair:
    """A touch: maybe an order or a return, maybe an answer to a campaign."""
    affair, contact, campaign = Affair(), draw(st.sampled_from(contacts)), draw(st.sampled_from([*known, None]))
    told = InteractionRecorded(
        external_id=name,
        channel=draw(st.sampled_from(Channel)),
        direction=draw(st.sampled_from(Direction)),
        party=Party(contact_id=contact),
        attributes={
            "amount": draw(AMOUNTS.map(str) | AMOUNTS.map(lambda amount: str(-amount))),
            "currency": draw(CURRENCIES),
            **({"campaign_id": str(campaign.id)} if campaign else {}),
        },
        occurred_at=draw(MOMENTS),
    )
    interaction = Interaction(told.identity("/shop"))
    interaction.log(contact, draw(SOURCES), told)
    affair.save(interaction)
    if campaign:
        engagement = Engagement(engagement_stream(interaction.id))
        engagement.answer(
            campaign, contact_id=contact, interaction_id=interaction.id, channel=told.channel, at=told.occurred_at
        )
        affair.save(engagement)
    return affair


@st.composite
def leads(draw: st.DrawFn, name: str, contacts: list[UUID]) -> Affair:
    """A lead, before and after contacts has answered who it is, and the deal that it becomes, if it does."""
    affair, lead = Affair(), Lead(story_id(name))
    lead.capture(Inquiry(party=SOMEBODY), draw(SOURCES), draw(MOMENTS))
    affair.decide(lead, draw(LEAD_DECISIONS))
    affair.answer(lead, Cause.LEAD, draw(st.sampled_from([*contacts, None])))
    affair.decide(lead, draw(LEAD_DECISIONS))
    if lead.opportunity_id:
        deal = Opportunity(lead.opportunity_id)
        deal.open(lead.id, OpportunityTitle(title="Ten licences"), draw(PRICES), None, draw(MOMENTS))
        affair.decide(deal, draw(DEAL_DECISIONS))
    return affair


@st.composite
def tickets(draw: st.DrawFn, name: str, contacts: list[UUID]) -> Affair:
    """A ticket, before and after contacts has answered whose it is."""
    affair, ticket = Affair(), Ticket(story_id(name))
    request = TicketRequest(party=SOMEBODY, subject="It is broken")
    ticket.open(request, draw(st.sampled_from(Channel)), draw(st.sampled_from(Priority)), draw(MOMENTS))
    affair.decide(ticket, draw(TICKET_DECISIONS))
    affair.answer(ticket, Cause.TICKET, draw(st.sampled_from([*contacts, None])))
    affair.decide(ticket, draw(TICKET_DECISIONS))
    return affair
