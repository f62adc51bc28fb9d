"""The single customer view is a function of the facts, not of the order in which topics brought them."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from crm_events import EVENTS
from crm_events.adapter import Channel, Direction
from crm_events.contacts import (
    Cause,
    ContactRegistered,
    ContactUpdated,
    InteractionLogged,
    PartyResolved,
    PartyUnknown,
    UnknownReason,
    party_stream,
)
from crm_events.envelope import Recorded, event_id
from crm_events.event import Event, Sealed
from crm_events.marketing import (
    CampaignCreated,
    CampaignLaunched,
    ContactEnrolled,
    EngagementRecorded,
    engagement_stream,
    enrolment_stream,
)
from crm_events.parties import IdentifierIndex, IdentifierKind, Money, OrderValue
from crm_events.sales import (
    LeadCaptured,
    LeadConverted,
    LeadLinked,
    LeadQualified,
    OpportunityOpened,
    OpportunityStage,
    OpportunityStageChanged,
    OpportunityWon,
)
from crm_events.service import (
    Priority,
    ReplyAuthor,
    TicketAssigned,
    TicketLinked,
    TicketOpened,
    TicketReopened,
    TicketReplied,
    TicketResolved,
)
from crm_events.topics import PARTITIONS, context_topic
from crm_gateway.answers import CustomerView, Opened
from crm_gateway.projections.campaigns import CampaignRecord, EngagementRecord, EnrolmentRecord
from crm_gateway.projections.customers import Customers
from crm_gateway.projections.leads import LeadRecord
from crm_gateway.projections.opportunities import OpportunityRecord
from crm_gateway.projections.parties import PartyLink
from crm_gateway.projections.profile import CustomerProfile
from crm_gateway.projections.tickets import TicketRecord, TicketReply
from crm_gateway.projections.timeline import TimelineEntry
from crm_gateway.projections.totals import CustomerTotals
from crm_gateway.view import CustomerRecords, OpenedBlocks, compose, timeline_items
from crm_platform.partitioning import partition_of
from crm_platform.projection import Document, Place
from crm_platform.testing import SOME_TIME, recorded, story_id

D = TypeVar("D", bound=Document)

ANN = story_id("the contact Ann")
LEAD, DEAL, TICKET, OTHERS_TICKET = (story_id(name) for name in ("lead", "deal", "ticket", "another's ticket"))
SPRING, SUMMER = story_id("spring campaign"), story_id("summer campaign")
VISITS = [story_id(f"visit {n}") for n in range(6)]
ORDER, RETURN = story_id("order"), story_id("return")
EMAIL_INDEX = story_id("blind index of her e-mail address")


def sealed(stream: UUID, sequence: int) -> Sealed:
    return Sealed(event=event_id(stream, sequence), subject=ANN, key=story_id("Ann's key"), box="c2VhbGVk")


def stream(subject: UUID, *events: Event) -> list[Recorded[Event]]:
    return [recorded(event, subject=subject, sequence=n) for n, event in enumerate(events, 1)]


def days(count: float) -> timedelta:
    return timedelta(days=count)


def interaction(
    subject: UUID, day: float, channel: Channel = Channel.EMAIL, order: OrderValue | None = None
) -> list[Recorded[Event]]:
    logged = InteractionLogged(
        contact_id=ANN,
        source="shop",
        channel=channel,
        direction=Direction.INBOUND,
        order=order,
        content=sealed(subject, 1),
        occurred_at=SOME_TIME + days(day),
    )
    return stream(subject, logged)


def euros(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="EUR")


def order(amount: str, currency: str = "EUR") -> OrderValue:
    return OrderValue(amount=Decimal(amount), currency=currency)


CONTACT_EVENTS = [
    stream(
        ANN,
        ContactRegistered(source="shop", profile=sealed(ANN, 1), occurred_at=SOME_TIME),
        ContactUpdated(
            identifiers=(IdentifierIndex(kind=IdentifierKind.EMAIL, index=EMAIL_INDEX),),
            changed=("identifiers",),
            profile=sealed(ANN, 2),
            occurred_at=SOME_TIME + days(1),
        ),
    ),
    *(interaction(visit, day) for day, visit in enumerate(VISITS)),
    interaction(ORDER, 2.5, Channel.ORDER, order("19.99")),
    interaction(RETURN, 3.5, Channel.ORDER, order("-9.99")),
    stream(party_stream(LEAD), PartyResolved(cause=Cause.LEAD, cause_id=LEAD, contact_id=ANN, occurred_at=SOME_TIME)),
    stream(
        party_stream(TICKET), PartyResolved(cause=Cause.TICKET, cause_id=TICKET, contact_id=ANN, occurred_at=SOME_TIME)
    ),
    stream(
        party_stream(OTHERS_TICKET),
        PartyUnknown(
            cause=Cause.TICKET,
            cause_id=OTHERS_TICKET,
            reason=UnknownReason.NO_SUCH_CONTACT,
            occurred_at=SOME_TIME,
        ),
    ),
]
SALES_EVENTS = [
    stream(
        LEAD,
        LeadCaptured(source="web", inquiry=sealed(LEAD, 1), occurred_at=SOME_TIME),
        LeadLinked(contact_id=ANN, occurred_at=SOME_TIME),
        LeadQualified(score=80, occurred_at=SOME_TIME + days(1)),
        LeadConverted(source="web", opportunity_id=DEAL, occurred_at=SOME_TIME + days(2)),
    ),
    stream(
        DEAL,
        OpportunityOpened(
            lead_id=LEAD,
            value=euros("1000"),
            stage=OpportunityStage.DISCOVERY,
            details=sealed(DEAL, 1),
            occurred_at=SOME_TIME + days(2),
        ),
        OpportunityStageChanged(
            lead_id=LEAD,
            previous=OpportunityStage.DISCOVERY,
            stage=OpportunityStage.PROPOSAL,
            occurred_at=SOME_TIME + days(3),
        ),
        OpportunityWon(lead_id=LEAD, value=euros("900.50"), occurred_at=SOME_TIME + days(4)),
    ),
]
SERVICE_EVENTS = [
    stream(
        ticket,
        TicketOpened(
            channel=Channel.EMAIL, priority=Priority.HIGH, request=sealed(ticket, 1), occurred_at=SOME_TIME + days(1)
        ),
        TicketLinked(contact_id=ANN, occurred_at=SOME_TIME + days(1)),
        TicketAssigned(agent="bob", occurred_at=SOME_TIME + days(1.1)),
        TicketReplied(author=ReplyAuthor.AGENT, reply=sealed(ticket, 4), occurred_at=SOME_TIME + days(1.2)),
        TicketReplied(author=ReplyAuthor.CUSTOMER, reply=sealed(ticket, 5), occurred_at=SOME_TIME + days(10)),
        TicketResolved(opened_at=SOME_TIME + days(1), occurred_at=SOME_TIME + days(11)),
        TicketReopened(
            opened_at=SOME_TIME + days(1), resolved_at=SOME_TIME + days(11), occurred_at=SOME_TIME + days(12)
        ),
    )
    for ticket in (TICKET, OTHERS_TICKET)
]
MARKETING_EVENTS = [
    stream(
        SPRING,
        CampaignCreated(name="Spring", channel=Channel.EMAIL, occurred_at=SOME_TIME),
        CampaignLaunched(occurred_at=SOME_TIME + days(1)),
    ),
    stream(enrolment_stream(SPRING, ANN), ContactEnrolled(campaign_id=SPRING, contact_id=ANN, occurred_at=SOME_TIME)),
    *(
        stream(
            engagement_stream(visit),
            EngagementRecorded(
                campaign_id=campaign,
                contact_id=ANN,
                interaction_id=visit,
                channel=Channel.EMAIL,
                occurred_at=SOME_TIME + days(day),
            ),
        )
        for day, (visit, campaign) in enumerate(zip(VISITS, (SPRING, SPRING, SUMMER), strict=False))
    ),
]
STORY = [*CONTACT_EVENTS, *SALES_EVENTS, *SERVICE_EVENTS, *MARKETING_EVENTS]


class Records:
    """What the read model holds after events that came in that order, as its queries would find it."""

    def __init__(self, arrivals: Iterable[tuple[Place, Recorded[Event]]]) -> None:
        customers = Customers()
        self._documents: dict[tuple[type[Document], str], Document] = {}
        self.written_from: dict[tuple[type[Document], str], set[Place]] = {}
        for place, event in arrivals:
            for fold in customers.folds[type(event.data)]:
                target = (fold.document, fold.key(event, place))
                self._documents[target] = customers.apply(fold, self._documents.get(target), event)
                self.written_from.setdefault(target, set()).add(place)

    def all(self, kind: type[D]) -> list[D]:
        return [document for document in self._documents.values() if isinstance(document, kind)]

    def of_ann(self) -> CustomerRecords:
        ann = str(ANN)
        links = [link for link in self.all(PartyLink) if link.contact_id == ann]
        causes = {link.cause_id for link in links}
        return CustomerRecords(
            contact_id=ann,
            profile=next((profile for profile in self.all(CustomerProfile) if profile.id == ann), None),
            timeline=[entry for entry in self.all(TimelineEntry) if entry.contact_id == ann],
            replies=[reply for reply in self.all(TicketReply) if reply.ticket_id in causes],
            totals=[totals for totals in self.all(CustomerTotals) if totals.contact_id == ann],
            leads=[lead for lead in self.all(LeadRecord) if lead.id in causes],
            opportunities=[deal for deal in self.all(OpportunityRecord) if deal.lead_id in causes],
            tickets=[ticket for ticket in self.all(TicketRecord) if ticket.id in causes],
            campaigns=self.all(CampaignRecord),
            enrolments=[record for record in self.all(EnrolmentRecord) if record.contact_id == ann],
            engagements=[record for record in self.all(EngagementRecord) if record.contact_id == ann],
        )


def place_of(event: Recorded[Event]) -> Place:
    return Place(context_topic(event.data.context), partition_of(event.subject, PARTITIONS))


def in_order(*streams: list[Recorded[Event]]) -> list[tuple[Place, Recorded[Event]]]:
    return [(place_of(event), event) for events in streams for event in events]


@st.composite
def interleavings(draw: st.DrawFn) -> list[tuple[Place, Recorded[Event]]]:
    """The whole story, each partition in its own order, the partitions in any order between each other."""
    partitions: dict[Place, list[Recorded[Event]]] = {}
    for place, event in in_order(*STORY):
        partitions.setdefault(place, []).append(event)
    turns = draw(st.permutations([place for place, events in partitions.items() for _ in events]))
    waiting = {place: iter(events) for place, events in partitions.items()}
    return [(place, next(waiting[place])) for place in turns]


def words_of(*erased: UUID) -> OpenedBlocks:
    """Every block of the story in the clear, but for those of the erased streams."""
    opened: dict[str, Opened | None] = {}
    for events in STORY:
        for event in events:
            block = event.data.personal
            if block is not None and event.subject not in erased:
                name = f"words of {event.id}"
                opened[str(event.id)] = {"text": name, "title": name, "identifiers": [], "body": name}
    return OpenedBlocks(opened)


def view_of(records: Records, opened: OpenedBlocks | None = None) -> CustomerView:
    opened = opened or words_of()
    hers = records.of_ann()
    timeline = timeline_items(hers.timeline, hers.replies, opened)
    return compose(hers, opened, {"items": timeline, "next": None}, {})


VIEW = view_of(Records(in_order(*STORY)))


@given(interleavings())
def test_the_view_does_not_depend_on_how_partitions_interleave(
    arrivals: list[tuple[Place, Recorded[Event]]],
) -> None:
    records = Records(arrivals)

    assert view_of(records) == VIEW
    assert all(len(places) == 1 for places in records.written_from.values())


@given(interleavings(), st.data())
def test_a_view_can_be_composed_at_any_moment_of_any_interleaving(
    arrivals: list[tuple[Place, Recorded[Event]]], data: st.DataObject
) -> None:
    seen = arrivals[: data.draw(st.integers(0, len(arrivals)))]

    view = view_of(Records(seen))

    touches = {str(event.subject) for _, event in seen if isinstance(event.data, InteractionLogged)}
    shown = {item["id"] for item in view["timeline"]["items"] if item["kind"] == "interaction"}
    assert shown == touches
    assert view["totals"]["interactions"] == len(touches)


def test_every_event_of_the_four_topics_is_taken_in() -> None:
    followed = {topic.name for topic in Customers.topics}

    assert set(Customers.folds) == {event for event in EVENTS if context_topic(event.context) in followed}


def test_a_late_fact_sits_where_it_occurred_and_keeps_when_it_was_recorded() -> None:
    late = interaction(story_id("a letter found in a drawer"), 0.5)[0]

    view = view_of(Records([*in_order(*STORY), (place_of(late), late)]))

    ids = [item["id"] for item in view["timeline"]["items"]]
    assert ids.index(str(VISITS[1])) + 1 == ids.index(str(late.subject)) == ids.index(str(VISITS[0])) - 1
    assert view["timeline"]["items"][ids.index(str(late.subject))]["recorded_at"] == late.time


def test_the_timeline_is_one_list_of_interactions_and_replies_newest_first() -> None:
    items = VIEW["timeline"]["items"]

    assert [item["occurred_at"] for item in items] == sorted((item["occurred_at"] for item in items), reverse=True)
    assert [item["direction"] for item in items if item["kind"] == "ticket_reply"] == ["inbound", "outbound"]
    assert {item["ticket_id"] for item in items} == {None, str(TICKET)}


def test_totals_are_summed_over_partitions_and_a_return_is_no_order() -> None:
    assert VIEW["totals"] == {
        "orders": 1,
        "revenue": {"EUR": "10.00"},
        "interactions": len(VISITS) + 2,
        "last_contact_at": SOME_TIME + days(5),
    }


def test_revenue_is_kept_apart_by_currency() -> None:
    purchases = [interaction(story_id(f"{amount}"), 1, Channel.ORDER, order(amount, "USD")) for amount in ("5", "0.50")]

    view = view_of(Records(in_order(*STORY, *purchases)))

    assert view["totals"]["revenue"] == {"EUR": "10.00", "USD": "5.50"}


def test_a_deal_belongs_to_the_customer_through_its_lead() -> None:
    (deal,) = VIEW["opportunities"]

    assert (deal["lead_id"], deal["status"], deal["value"]) == (
        str(LEAD),
        "won",
        {"amount": "900.50", "currency": "EUR"},
    )
    assert [(lead["id"], lead["stage"], lead["score"]) for lead in VIEW["leads"]] == [(str(LEAD), "converted", 80)]


def test_a_ticket_shows_its_state_and_only_that_of_the_customer() -> None:
    (ticket,) = VIEW["tickets"]

    assert (ticket["id"], ticket["version"], ticket["status"], ticket["agent"]) == (str(TICKET), 7, "open", "bob")
    assert (ticket["replies"], ticket["resolved_at"]) == (2, None)


def test_a_campaign_that_was_answered_without_being_enrolled_in_is_shown_too() -> None:
    shown = {campaign["id"]: campaign for campaign in VIEW["campaigns"]}

    spring, summer = shown[str(SPRING)], shown[str(SUMMER)]
    assert (spring["name"], spring["enrolled_at"], len(spring["engagements"])) == ("Spring", SOME_TIME, 2)
    assert (summer["name"], summer["enrolled_at"], len(summer["engagements"])) == (None, None, 1)


def test_what_is_erased_is_null_and_all_else_stays() -> None:
    view = view_of(Records(in_order(*STORY)), words_of(ANN, *VISITS))

    assert (view["erased"], view["profile"], view["identifiers"]) == (True, None, [])
    assert view["totals"] == VIEW["totals"]
    contents = {item["id"]: item["content"] for item in view["timeline"]["items"]}
    assert {contents[str(visit)] for visit in VISITS} == {None}


def test_a_customer_whose_own_record_has_not_arrived_is_not_called_erased() -> None:
    view = view_of(Records(in_order(*CONTACT_EVENTS[1:])))

    assert (view["erased"], view["profile"], view["registered_at"]) == (False, None, None)
    assert view["totals"]["orders"] == 1


def test_every_block_of_the_view_is_opened() -> None:
    records = Records(in_order(*STORY)).of_ann()
    hers = {str(event.id) for events in STORY for event in events if event.data.personal}
    of_others = {str(event.id) for events in STORY for event in events if event.subject == OTHERS_TICKET}

    # A profile holds its newest block only.
    assert {block.event for block in records.blocks()} == hers - of_others - {str(event_id(ANN, 1))}


def test_the_contact_is_looked_up_by_its_newest_identifiers() -> None:
    (profile,) = Records(in_order(*STORY)).all(CustomerProfile)

    assert profile.identifiers == (str(EMAIL_INDEX),)
