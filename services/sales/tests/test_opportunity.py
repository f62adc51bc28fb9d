"""The rules of an opportunity."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from operator import methodcaller
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from crm_events.event import Event
from crm_events.parties import Money, Note
from crm_events.sales import (
    LeadQualified,
    LossReason,
    OpportunityLost,
    OpportunityOpened,
    OpportunityStage,
    OpportunityStageChanged,
    OpportunityTitle,
    OpportunityWon,
)
from crm_platform.errors import AlreadyTaken, NotAllowed, Refusal
from crm_platform.testing import SOME_STREAM, SOME_TIME, given, recorded, story_id
from crm_sales.domain.opportunity import Opportunity, OpportunityStatus

AT = SOME_TIME + timedelta(hours=1)
LEAD = story_id("the lead")
VALUE = Money(amount=Decimal("1200.50"), currency="EUR")
MORE = Money(amount=Decimal(1500), currency="EUR")
TITLE = OpportunityTitle(title="A hundred chairs")
OPENED = OpportunityOpened(
    lead_id=LEAD, value=VALUE, stage=OpportunityStage.DISCOVERY, details=TITLE, occurred_at=SOME_TIME
)
WON = OpportunityWon(lead_id=LEAD, value=VALUE, occurred_at=SOME_TIME)
LOST = OpportunityLost(lead_id=LEAD, reason=LossReason.PRICE, occurred_at=SOME_TIME)


def moved(previous: OpportunityStage, stage: OpportunityStage, at: datetime = AT) -> OpportunityStageChanged:
    return OpportunityStageChanged(lead_id=LEAD, previous=previous, stage=stage, occurred_at=at)


def test_an_opportunity_opens_in_discovery() -> None:
    close = date(2026, 6, 30)
    given(Opportunity).when(lambda deal: deal.open(LEAD, TITLE, VALUE, close, AT)).then(
        OpportunityOpened(
            lead_id=LEAD,
            value=VALUE,
            stage=OpportunityStage.DISCOVERY,
            expected_close=close,
            details=TITLE,
            occurred_at=AT,
        )
    )


def test_an_opportunity_opens_only_once() -> None:
    given(Opportunity, OPENED).when(lambda deal: deal.open(LEAD, TITLE, VALUE, None, AT)).refuses(AlreadyTaken)


def test_a_stream_of_another_aggregate_is_no_opportunity() -> None:
    assert not Opportunity.fold(LEAD, [recorded(LeadQualified(score=1, occurred_at=AT))]).exists


def test_an_opportunity_moves_forwards_and_back_and_says_from_where() -> None:
    forwards = moved(OpportunityStage.DISCOVERY, OpportunityStage.NEGOTIATION)
    given(Opportunity, OPENED).when(lambda deal: deal.move_to(OpportunityStage.NEGOTIATION, AT)).then(forwards)
    given(Opportunity, OPENED, forwards).when(lambda deal: deal.move_to(OpportunityStage.PROPOSAL, AT)).then(
        moved(OpportunityStage.NEGOTIATION, OpportunityStage.PROPOSAL)
    )


def test_an_opportunity_does_not_move_into_the_stage_it_is_in() -> None:
    given(Opportunity, OPENED).when(lambda deal: deal.move_to(OpportunityStage.DISCOVERY, AT)).refuses(
        NotAllowed, saying="in the stage discovery already"
    )


def test_a_deal_is_won_at_what_it_was_opened_with_unless_said_otherwise() -> None:
    given(Opportunity, OPENED).when(lambda deal: deal.win(None, AT)).then(
        OpportunityWon(lead_id=LEAD, value=VALUE, occurred_at=AT)
    )
    given(Opportunity, OPENED).when(lambda deal: deal.win(MORE, AT)).then(
        OpportunityWon(lead_id=LEAD, value=MORE, occurred_at=AT)
    )


def test_a_deal_may_be_won_for_nothing() -> None:
    free = Money(amount=Decimal(0), currency="EUR")
    given(Opportunity, OPENED).when(lambda deal: deal.win(free, AT)).then(
        OpportunityWon(lead_id=LEAD, value=free, occurred_at=AT)
    )


def test_a_deal_is_lost_with_a_reason() -> None:
    note = Note(text="They bought stools.")
    given(Opportunity, OPENED).when(lambda deal: deal.lose(LossReason.COMPETITOR, note, AT)).then(
        OpportunityLost(lead_id=LEAD, reason=LossReason.COMPETITOR, note=note, occurred_at=AT)
    )


@pytest.mark.parametrize(("closed", "state"), [(WON, "won"), (LOST, "lost")])
@pytest.mark.parametrize(
    "decision",
    [
        methodcaller("move_to", OpportunityStage.PROPOSAL, AT),
        methodcaller("win", None, AT),
        methodcaller("lose", LossReason.PRICE, None, AT),
    ],
)
def test_a_closed_opportunity_changes_no_more(closed: Event, state: str, decision: Any) -> None:
    given(Opportunity, OPENED, closed).when(decision).refuses(NotAllowed, saying=f"The opportunity is {state}")


moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - made aware
decisions = st.one_of(
    st.builds(methodcaller, st.just("move_to"), st.sampled_from(OpportunityStage), moments),
    st.builds(methodcaller, st.just("win"), st.sampled_from([None, VALUE, MORE]), moments),
    st.builds(methodcaller, st.just("lose"), st.sampled_from(LossReason), st.none(), moments),
    st.builds(methodcaller, st.just("open"), *map(st.just, (LEAD, TITLE, VALUE, None)), moments),
)


@for_all(st.lists(decisions, max_size=20))
def test_an_opportunity_folded_from_its_events_is_the_one_that_decided_them(story: list[Any]) -> None:
    deal = given(Opportunity, OPENED).then()
    for decision in story:
        was, before = deal.status, len(deal.pending)
        try:
            decision(deal)
        except Refusal:
            assert len(deal.pending) == before
        else:
            assert was is OpportunityStatus.OPEN
    history = [OPENED, *deal.pending]
    folded = Opportunity.fold(deal.id, [recorded(event, sequence=n) for n, event in enumerate(history, 1)])
    assert state_of(folded) == state_of(deal)


EVENTS = [OPENED, WON, LOST, moved(OpportunityStage.DISCOVERY, OpportunityStage.PROPOSAL)]


@for_all(st.lists(st.sampled_from(EVENTS)))
def test_no_history_however_odd_fails_to_fold(history: list[Event]) -> None:
    deal = Opportunity.fold(SOME_STREAM, [recorded(event, sequence=n) for n, event in enumerate(history, 1)])
    assert deal.version == len(history)


def state_of(deal: Opportunity) -> dict[str, object]:
    return {name: value for name, value in vars(deal).items() if name != "pending"}
