"""The story of one customer, Ann: what each service records of her, and every order in which it may arrive."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import strategies as st

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
from crm_platform.partitioning import partition_of
from crm_platform.projection import Place
from crm_platform.testing import SOME_TIME, recorded, story_id

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
