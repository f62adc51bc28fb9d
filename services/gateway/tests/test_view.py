"""The single customer view is a function of the facts, not of the order in which topics brought them."""

from collections.abc import Iterable
from typing import TypeVar
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from services.gateway.tests.story import (
    ANN,
    CONTACT_EVENTS,
    EMAIL_INDEX,
    LEAD,
    OTHERS_TICKET,
    SPRING,
    STORY,
    SUMMER,
    TICKET,
    VISITS,
    days,
    in_order,
    interaction,
    interleavings,
    order,
    place_of,
)

from crm_events import EVENTS
from crm_events.adapter import Channel
from crm_events.contacts import InteractionLogged
from crm_events.envelope import Recorded, event_id
from crm_events.event import Event
from crm_events.topics import context_topic
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
from crm_platform.projection import Document, Place
from crm_platform.testing import SOME_TIME, story_id

D = TypeVar("D", bound=Document)


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
