"""The totals are exact: any history, over any partitions, in any order that keeps each stream's, sums to the same."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4, uuid5

from hypothesis import given
from hypothesis import strategies as st

from crm_analytics.kpis import Figures, figures, money, rate
from crm_analytics.projections import (
    ContactTotals,
    EngagementTotals,
    InteractionTotals,
    Kpis,
    LeadTotals,
    RevenueTotals,
    TicketTotals,
)
from crm_events.adapter import Channel, Direction
from crm_events.contacts import ContactRegistered, InteractionLogged
from crm_events.event import Event, Sealed
from crm_events.marketing import EngagementRecorded
from crm_events.parties import Money, OrderValue
from crm_events.sales import LeadCaptured, LeadConverted, OpportunityWon
from crm_events.service import Priority, TicketOpened, TicketReopened, TicketResolved
from crm_events.topics import PARTITIONS, context_topic
from crm_platform.projection import Document, Place
from crm_platform.testing import SOME_STREAM, SOME_TIME, recorded

SEALED = Sealed(event=uuid4(), subject=uuid4(), key=uuid4(), box="")
SOURCES = st.sampled_from(["web", "fair", "a/b", "b"])
CURRENCIES = st.sampled_from(["EUR", "USD", "JPY"])
INSTANTS = st.integers(0, 10**10).map(lambda ms: SOME_TIME + timedelta(milliseconds=ms))
AMOUNTS = st.decimals(0, 10**9, places=2, allow_nan=False, allow_infinity=False)


@dataclass
class Story:
    """The events of one stream, and where its partition is."""

    events: list[Event]
    partition: int = 0
    stream: UUID = field(default=SOME_STREAM)


def lead(source: str, at: datetime, *, converted: bool) -> list[Event]:
    events: list[Event] = [LeadCaptured(source=source, inquiry=SEALED, occurred_at=at)]
    if converted:
        events.append(LeadConverted(source=source, opportunity_id=uuid4(), occurred_at=at))
    return events


def ticket(at: datetime, gaps: list[int]) -> list[Event]:
    """A ticket that is resolved, reopened, resolved ... after so many milliseconds each."""
    events: list[Event] = [
        TicketOpened(channel=Channel.EMAIL, priority=Priority.NORMAL, request=SEALED, occurred_at=at)
    ]
    now = resolved = at
    for number, gap in enumerate(gaps):
        now += timedelta(milliseconds=gap)
        if number % 2:
            events.append(TicketReopened(opened_at=at, resolved_at=resolved, occurred_at=now))
        else:
            events.append(TicketResolved(opened_at=at, occurred_at=now))
            resolved = now
    return events


def won(currency: str, amount: Decimal, at: datetime) -> list[Event]:
    return [OpportunityWon(lead_id=uuid4(), value=Money(amount=amount, currency=currency), occurred_at=at)]


def interaction(channel: Channel, currency: str, amount: Decimal, at: datetime) -> list[Event]:
    order = OrderValue(amount=amount, currency=currency) if channel is Channel.ORDER else None
    return [
        InteractionLogged(
            contact_id=uuid4(),
            source="shop",
            channel=channel,
            direction=Direction.INBOUND,
            order=order,
            content=SEALED,
            occurred_at=at,
        )
    ]


def contact(at: datetime) -> list[Event]:
    return [ContactRegistered(source="web", profile=SEALED, occurred_at=at)]


def engagement(at: datetime) -> list[Event]:
    return [
        EngagementRecorded(
            campaign_id=uuid4(), contact_id=uuid4(), interaction_id=uuid4(), channel=Channel.WEB, occurred_at=at
        )
    ]


STREAMS = st.one_of(
    st.builds(lead, SOURCES, INSTANTS, converted=st.booleans()),
    st.builds(ticket, INSTANTS, st.lists(st.integers(0, 10**9), max_size=6)),
    st.builds(won, CURRENCIES, AMOUNTS, INSTANTS),
    st.builds(interaction, st.sampled_from(Channel), CURRENCIES, AMOUNTS | AMOUNTS.map(lambda a: -a), INSTANTS),
    st.builds(contact, INSTANTS),
    st.builds(engagement, INSTANTS),
)
STORIES = st.lists(st.builds(Story, STREAMS, st.integers(0, PARTITIONS - 1)), max_size=30)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Story], list[Story]]:
    """Stories, and whose turn it is: each story as often as it has events."""
    stories = draw(STORIES)
    for number, story in enumerate(stories):
        story.stream = uuid5(SOME_STREAM, str(number))
    turns = [number for number, story in enumerate(stories) for _ in story.events]
    return stories, [stories[number] for number in draw(st.permutations(turns))]


def fold_in_turn(turns: list[Story]) -> list[Document]:
    """Every event folded where it was read; no document may be written from two places."""
    kpis, told = Kpis(), Counter[UUID]()
    documents: dict[tuple[type[Document], str], Document] = {}
    written_from: dict[tuple[type[Document], str], Place] = {}
    for story in turns:
        data = story.events[told[story.stream]]
        told[story.stream] += 1
        event = recorded(data, subject=story.stream, sequence=told[story.stream])
        place = Place(context_topic(data.context), story.partition)
        for fold in kpis.folds[type(data)]:
            key = (fold.document, fold.key(event, place))
            assert written_from.setdefault(key, place) == place
            documents[key] = kpis.apply(fold, documents.get(key), event)
    return list(documents.values())


def summed(documents: list[Document]) -> Figures:
    return figures(
        leads=[d for d in documents if isinstance(d, LeadTotals)],
        tickets=[d for d in documents if isinstance(d, TicketTotals)],
        revenue=[d for d in documents if isinstance(d, RevenueTotals)],
        interactions=[d for d in documents if isinstance(d, InteractionTotals)],
        contacts=[d for d in documents if isinstance(d, ContactTotals)],
        engagements=[d for d in documents if isinstance(d, EngagementTotals)],
    )


@given(histories())
def test_leads_and_their_conversion_are_exact(history: tuple[list[Story], list[Story]]) -> None:
    stories, turns = history
    leads = [s.events for s in stories if isinstance(s.events[0], LeadCaptured)]
    found = summed(fold_in_turn(turns)).leads
    assert (found.captured, found.converted) == (len(leads), sum(len(events) == 2 for events in leads))
    for each in found.by_source:
        mine = [e for e in leads if isinstance(e[0], LeadCaptured) and e[0].source == each.source]
        assert (each.captured, each.converted) == (len(mine), sum(len(events) == 2 for events in mine))
        assert each.conversion_rate == rate(each.converted, each.captured)


@given(histories())
def test_tickets_count_by_how_they_stand_now(history: tuple[list[Story], list[Story]]) -> None:
    stories, turns = history
    tickets = [s.events for s in stories if isinstance(s.events[0], TicketOpened)]
    last = [events[-1] for events in tickets]
    took = [(e.occurred_at - e.opened_at).total_seconds() for e in last if isinstance(e, TicketResolved)]
    found = summed(fold_in_turn(turns)).tickets
    assert (found.opened, found.open, found.resolved) == (len(tickets), len(tickets) - len(took), len(took))
    if not took:
        assert found.average_resolution_seconds is None
    else:
        assert found.average_resolution_seconds is not None
        assert abs(found.average_resolution_seconds - sum(took) / len(took)) < 0.001


@given(histories())
def test_money_is_exact_in_each_currency(history: tuple[list[Story], list[Story]]) -> None:
    events = [story.events[0] for story in history[0]]
    deals = [e for e in events if isinstance(e, OpportunityWon)]
    orders = [e.order for e in events if isinstance(e, InteractionLogged) and e.order]
    found = summed(fold_in_turn(history[1]))
    revenue = {each.currency: (each.opportunities, Decimal(each.won)) for each in found.revenue}
    value = {each.currency: (each.orders, each.returns, Decimal(each.value)) for each in found.orders}
    for currency in ("EUR", "USD", "JPY"):
        mine = [deal.value.amount for deal in deals if deal.value.currency == currency]
        assert revenue.get(currency, (0, Decimal(0))) == (len(mine), sum(mine, Decimal(0)))
        theirs = [order.amount for order in orders if order.currency == currency]
        returns = sum(amount < 0 for amount in theirs)
        expected = (len(theirs) - returns, returns, sum(theirs, Decimal(0)))
        assert value.get(currency, (0, 0, Decimal(0))) == expected


def test_a_return_is_no_order_and_what_costs_nothing_is_one() -> None:
    amounts = [Decimal(amount) for amount in ("19.99", "0.00", "-9.99")]
    stories = [
        Story(interaction(Channel.ORDER, "EUR", amount, SOME_TIME), partition, uuid5(SOME_STREAM, str(amount)))
        for partition, amount in enumerate(amounts)
    ]
    (euros,) = summed(fold_in_turn(stories)).orders
    assert (euros.orders, euros.returns, euros.value) == (2, 1, "10.00")


@given(histories())
def test_contacts_interactions_and_engagements_are_counted(history: tuple[list[Story], list[Story]]) -> None:
    events = [story.events[0] for story in history[0]]
    found = summed(fold_in_turn(history[1]))
    assert found.contacts == sum(isinstance(e, ContactRegistered) for e in events)
    assert found.engagements == sum(isinstance(e, EngagementRecorded) for e in events)
    channels = Counter(e.channel.value for e in events if isinstance(e, InteractionLogged))
    assert {each.channel: each.interactions for each in found.interactions} == channels


def test_money_has_two_places() -> None:
    assert [money(minor) for minor in (0, 5, 100, 123456, -250)] == ["0.00", "0.05", "1.00", "1234.56", "-2.50"]
    assert money(10**18 + 1) == "10000000000000000.01"


def test_nothing_captured_has_no_conversion_rate() -> None:
    assert summed([]).leads.conversion_rate is None
    assert rate(1, 3) == 0.3333
