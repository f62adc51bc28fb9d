"""The rules of a lead."""

from datetime import UTC, datetime, timedelta
from operator import methodcaller
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from crm_events.event import Event
from crm_events.parties import Note, Party
from crm_events.sales import (
    DisqualificationReason,
    Inquiry,
    LeadCaptured,
    LeadConverted,
    LeadDisqualified,
    LeadLinked,
    LeadPartyUnknown,
    LeadQualified,
    LossReason,
    OpportunityLost,
)
from crm_platform.errors import AlreadyTaken, NotAllowed, Refusal
from crm_platform.testing import SOME_STREAM, SOME_TIME, given, recorded, story_id
from crm_sales.domain.lead import Lead, LeadStage, opportunity_of

AT = SOME_TIME + timedelta(hours=1)
ANN = story_id("the contact Ann")
BOB = story_id("the contact Bob")
INQUIRY = Inquiry(party=Party(email="ann@example.org", name="Ann"), message="Please call me.")
CAPTURED = LeadCaptured(source="web", inquiry=INQUIRY, occurred_at=SOME_TIME)
QUALIFIED = LeadQualified(score=80, occurred_at=SOME_TIME)
DISQUALIFIED = LeadDisqualified(reason=DisqualificationReason.SPAM, occurred_at=SOME_TIME)
CONVERTED = LeadConverted(source="web", opportunity_id=opportunity_of(SOME_STREAM), occurred_at=SOME_TIME)
LINKED = LeadLinked(contact_id=ANN, occurred_at=SOME_TIME)
UNKNOWN = LeadPartyUnknown(reason="no_such_contact", occurred_at=SOME_TIME)
OF_ANOTHER_AGGREGATE = OpportunityLost(lead_id=story_id("another lead"), reason=LossReason.PRICE, occurred_at=SOME_TIME)


def test_a_lead_is_captured_with_its_source_and_inquiry() -> None:
    given(Lead).when(lambda lead: lead.capture(INQUIRY, "web", SOME_TIME)).then(CAPTURED)


def test_a_lead_is_captured_only_once() -> None:
    given(Lead, CAPTURED).when(lambda lead: lead.capture(INQUIRY, "web", AT)).refuses(AlreadyTaken)


def test_a_lead_is_not_captured_over_another_aggregate() -> None:
    given(Lead, OF_ANOTHER_AGGREGATE).when(lambda lead: lead.capture(INQUIRY, "web", AT)).refuses(AlreadyTaken)


def test_a_stream_of_another_aggregate_is_no_lead() -> None:
    assert not Lead.fold(SOME_STREAM, [recorded(OF_ANOTHER_AGGREGATE)]).exists


def test_a_new_lead_is_qualified_with_a_score() -> None:
    given(Lead, CAPTURED).when(lambda lead: lead.qualify(80, AT)).then(LeadQualified(score=80, occurred_at=AT))


@pytest.mark.parametrize("later", [QUALIFIED, DISQUALIFIED, CONVERTED])
def test_only_a_new_lead_is_qualified(later: Event) -> None:
    given(Lead, CAPTURED, later).when(lambda lead: lead.qualify(80, AT)).refuses(
        NotAllowed, saying="only a new lead can be qualified"
    )


@pytest.mark.parametrize("earlier", [(CAPTURED,), (CAPTURED, QUALIFIED)])
def test_a_new_or_qualified_lead_is_disqualified_with_a_reason(earlier: tuple[Event, ...]) -> None:
    note = Note(text="Asked for a toaster.")
    given(Lead, *earlier).when(lambda lead: lead.disqualify(DisqualificationReason.NO_FIT, note, AT)).then(
        LeadDisqualified(reason=DisqualificationReason.NO_FIT, note=note, occurred_at=AT)
    )


@pytest.mark.parametrize("later", [DISQUALIFIED, CONVERTED])
def test_a_disqualified_or_converted_lead_is_not_disqualified(later: Event) -> None:
    given(Lead, CAPTURED, later).when(lambda lead: lead.disqualify(DisqualificationReason.SPAM, None, AT)).refuses(
        NotAllowed
    )


def test_a_qualified_lead_is_converted_into_an_opportunity_whose_id_follows_from_the_lead() -> None:
    given(Lead, CAPTURED, QUALIFIED).when(lambda lead: lead.convert(AT)).then(
        LeadConverted(source="web", opportunity_id=opportunity_of(SOME_STREAM), occurred_at=AT)
    )


@pytest.mark.parametrize("history", [(CAPTURED,), (CAPTURED, DISQUALIFIED)])
def test_only_a_qualified_lead_is_converted(history: tuple[Event, ...]) -> None:
    given(Lead, *history).when(lambda lead: lead.convert(AT)).refuses(
        NotAllowed, saying="only a qualified lead can be converted"
    )


def test_a_second_conversion_is_refused() -> None:
    given(Lead, CAPTURED, QUALIFIED, CONVERTED).when(lambda lead: lead.convert(AT)).refuses(
        NotAllowed, saying="The lead is converted"
    )


def test_a_resolved_party_links_the_lead() -> None:
    given(Lead, CAPTURED).when(lambda lead: lead.link(ANN, AT)).then(LeadLinked(contact_id=ANN, occurred_at=AT))


def test_a_lead_is_linked_to_the_same_contact_only_once() -> None:
    given(Lead, CAPTURED, LINKED).when(lambda lead: lead.link(ANN, AT)).then()


def test_a_lead_follows_a_changed_answer() -> None:
    given(Lead, CAPTURED, LINKED).when(lambda lead: lead.link(BOB, AT)).then(LeadLinked(contact_id=BOB, occurred_at=AT))


@pytest.mark.parametrize("later", [QUALIFIED, DISQUALIFIED, CONVERTED])
def test_a_late_answer_links_the_lead_in_any_stage(later: Event) -> None:
    given(Lead, CAPTURED, later).when(lambda lead: lead.link(ANN, AT)).then(LeadLinked(contact_id=ANN, occurred_at=AT))


def test_an_unknown_party_is_recorded_once() -> None:
    expected = LeadPartyUnknown(reason="no_such_contact", occurred_at=AT)
    given(Lead, CAPTURED).when(lambda lead: lead.miss_party("no_such_contact", AT)).then(expected)
    given(Lead, CAPTURED, UNKNOWN).when(lambda lead: lead.miss_party("no_such_contact", AT)).then()


def test_a_party_that_became_known_again_links_the_lead() -> None:
    given(Lead, CAPTURED, LINKED, UNKNOWN).when(lambda lead: lead.link(ANN, AT)).then(
        LeadLinked(contact_id=ANN, occurred_at=AT)
    )


moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - made aware
decisions = st.one_of(
    st.builds(methodcaller, st.just("capture"), st.just(INQUIRY), st.sampled_from(["web", "fair"]), moments),
    st.builds(methodcaller, st.just("qualify"), st.integers(0, 100), moments),
    st.builds(methodcaller, st.just("disqualify"), st.sampled_from(DisqualificationReason), st.none(), moments),
    st.builds(methodcaller, st.just("convert"), moments),
    st.builds(methodcaller, st.just("link"), st.sampled_from([ANN, BOB]), moments),
    st.builds(methodcaller, st.just("miss_party"), st.sampled_from(["no_such_contact", "erased"]), moments),
)


@for_all(st.lists(decisions, max_size=20))
def test_a_lead_folded_from_its_events_is_the_lead_that_decided_them(story: list[Any]) -> None:
    lead = given(Lead, CAPTURED).then()
    for decision in story:
        before = len(lead.pending)
        try:
            decision(lead)
        except Refusal:
            assert len(lead.pending) == before
    history = [CAPTURED, *lead.pending]
    folded = Lead.fold(lead.id, [recorded(event, sequence=n) for n, event in enumerate(history, 1)])
    assert state_of(folded) == state_of(lead)
    assert (lead.stage is LeadStage.CONVERTED) == any(isinstance(event, LeadConverted) for event in history)


@for_all(st.lists(st.sampled_from([CAPTURED, QUALIFIED, DISQUALIFIED, CONVERTED, LINKED, UNKNOWN])))
def test_no_history_however_odd_fails_to_fold(history: list[Event]) -> None:
    lead = Lead.fold(SOME_STREAM, [recorded(event, sequence=n) for n, event in enumerate(history, 1)])
    assert lead.version == len(history)
    assert lead.exists or CAPTURED not in history


def state_of(lead: Lead) -> dict[str, object]:
    return {name: value for name, value in vars(lead).items() if name != "pending"}
