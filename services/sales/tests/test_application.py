"""What each command does in a unit of work."""

from datetime import timedelta
from decimal import Decimal
from typing import TypeVar

import pytest
from pydantic import BaseModel, ValidationError

from crm_events.contacts import Cause, PartyResolved, PartyUnknown, UnknownReason, party_stream
from crm_events.event import Event
from crm_events.parties import Money, Party
from crm_events.sales import (
    DisqualificationReason,
    Inquiry,
    LeadCaptured,
    LeadConverted,
    LeadDisqualified,
    LeadLinked,
    LeadPartyUnknown,
    LeadQualified,
    OpportunityOpened,
    OpportunityWon,
)
from crm_platform.errors import NotAllowed, NotFound, NotYetHappened, VersionMismatch
from crm_platform.testing import SOME_STREAM, SOME_TIME, Desk, recorded, story_id
from crm_sales.application import (
    capture_lead,
    convert_lead,
    disqualify_lead,
    qualify_lead,
    win_opportunity,
)
from crm_sales.commands import CaptureLead, ConvertLead, DisqualifyLead, QualifyLead, WinOpportunity
from crm_sales.domain.lead import opportunity_of
from crm_sales.policies import LinkLeads

B = TypeVar("B", bound=BaseModel)

ANN = Party(email="ann@example.org", name="Ann")
CAPTURED = LeadCaptured(source="web", inquiry=Inquiry(party=ANN), occurred_at=SOME_TIME)
NAMELESS = LeadCaptured(source="web", inquiry=Inquiry(party=Party(phone="+4930123456")), occurred_at=SOME_TIME)
QUALIFIED = LeadQualified(score=80, occurred_at=SOME_TIME)
VALUE = Money(amount=Decimal(100), currency="EUR")
CONTACT = story_id("the contact Ann")


def test_a_captured_lead_waits_for_contacts_answer() -> None:
    desk = Desk()
    capture_lead(CaptureLead(party=ANN, source="web"), desk.work)
    assert desk.staged() == [(SOME_STREAM, CAPTURED)]
    assert desk.work.answers == [f"{party_stream(SOME_STREAM)}@1"]


def test_a_late_lead_stands_at_the_time_it_was_true() -> None:
    desk, yesterday = Desk(), SOME_TIME - timedelta(days=1)
    capture_lead(CaptureLead(party=ANN, source="web", occurred_at=yesterday), desk.work)
    ((_, captured),) = desk.staged()
    assert captured.occurred_at == yesterday


def test_a_clock_a_little_ahead_means_now() -> None:
    desk = Desk()
    capture_lead(CaptureLead(party=ANN, source="web", occurred_at=SOME_TIME + timedelta(minutes=5)), desk.work)
    ((_, captured),) = desk.staged()
    assert captured.occurred_at == SOME_TIME


def test_a_lead_of_the_future_is_refused() -> None:
    command = CaptureLead(party=ANN, source="web", occurred_at=SOME_TIME + timedelta(minutes=5, seconds=1))
    with pytest.raises(NotYetHappened, match="in the future"):
        capture_lead(command, Desk().work)


def test_a_score_runs_from_0_to_100() -> None:
    for score in (-1, 101):
        with pytest.raises(ValidationError):
            QualifyLead(score=score)


def test_a_lead_that_was_never_captured_is_not_found() -> None:
    with pytest.raises(NotFound):
        qualify_lead(QualifyLead(score=80), Desk().work)


def test_a_lead_that_changed_since_it_was_read_is_not_qualified() -> None:
    with pytest.raises(VersionMismatch):
        qualify_lead(QualifyLead(score=80), Desk(CAPTURED, if_match=2).work)


def test_a_lead_is_disqualified_without_a_note() -> None:
    desk = Desk(CAPTURED)
    disqualify_lead(DisqualifyLead(reason=DisqualificationReason.SPAM), desk.work)
    assert desk.staged() == [(SOME_STREAM, LeadDisqualified(reason=DisqualificationReason.SPAM, occurred_at=SOME_TIME))]


def test_converting_closes_the_lead_and_opens_its_opportunity_in_one_step() -> None:
    desk = Desk(CAPTURED, QUALIFIED)
    lead = convert_lead(ConvertLead(title="A hundred chairs", value=VALUE), desk.work)
    staged = dict(desk.staged())
    opened = staged[opportunity_of(SOME_STREAM)]
    assert isinstance(staged[SOME_STREAM], LeadConverted)
    assert isinstance(opened, OpportunityOpened)
    assert (opened.lead_id, opened.value) == (SOME_STREAM, VALUE)
    assert (lead.id, lead.version, lead.opportunity_id) == (SOME_STREAM, 3, opportunity_of(SOME_STREAM))


@pytest.mark.parametrize(("captured", "title"), [(CAPTURED, "Ann"), (NAMELESS, "Lead from web")])
def test_an_opportunity_without_a_title_is_named_after_the_party_or_the_source(captured: Event, title: str) -> None:
    desk = Desk(captured, QUALIFIED)
    convert_lead(ConvertLead(value=VALUE), desk.work)
    opened = dict(desk.staged())[opportunity_of(SOME_STREAM)]
    assert isinstance(opened, OpportunityOpened)
    assert opened.details.model_dump() == {"title": title}


def test_a_refused_conversion_opens_no_opportunity() -> None:
    desk = Desk(CAPTURED)
    with pytest.raises(NotAllowed):
        convert_lead(ConvertLead(value=VALUE), desk.work)
    assert desk.staged() == []


def test_a_lead_is_not_won_as_if_it_were_an_opportunity() -> None:
    with pytest.raises(NotFound):
        win_opportunity(WinOpportunity(), Desk(CAPTURED, QUALIFIED).work)


def test_an_opportunity_is_won() -> None:
    lead = story_id("the lead")
    opened = OpportunityOpened.model_validate(
        {"lead_id": lead, "value": VALUE, "stage": "discovery", "details": {"title": "x"}, "occurred_at": SOME_TIME}
    )
    desk = Desk(opened)
    win_opportunity(WinOpportunity(), desk.work)
    assert desk.staged() == [(SOME_STREAM, OpportunityWon(lead_id=lead, value=VALUE, occurred_at=SOME_TIME))]


def resolved(cause: Cause = Cause.LEAD) -> PartyResolved:
    return PartyResolved(cause=cause, cause_id=SOME_STREAM, contact_id=CONTACT, occurred_at=SOME_TIME)


def unknown(cause: Cause = Cause.LEAD) -> PartyUnknown:
    return PartyUnknown(cause=cause, cause_id=SOME_STREAM, reason=UnknownReason.NO_SUCH_CONTACT, occurred_at=SOME_TIME)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (resolved(), LeadLinked(contact_id=CONTACT, occurred_at=SOME_TIME)),
        (unknown(), LeadPartyUnknown(reason="no_such_contact", occurred_at=SOME_TIME)),
    ],
)
def test_contacts_answer_reaches_the_lead_once(answer: Event, expected: Event) -> None:
    event = recorded(answer, subject=party_stream(SOME_STREAM))
    desk = Desk(CAPTURED)
    LinkLeads().react(event, desk.work)
    LinkLeads().react(event, desk.work)
    assert list(LinkLeads().streams(event)) == [SOME_STREAM]
    assert desk.staged() == [(SOME_STREAM, expected)]


@pytest.mark.parametrize("answer", [resolved(Cause.TICKET), unknown(Cause.TICKET)])
def test_an_answer_to_another_cause_is_passed_over(answer: Event) -> None:
    event = recorded(answer, subject=party_stream(SOME_STREAM))
    desk = Desk()
    LinkLeads().react(event, desk.work)
    assert list(LinkLeads().streams(event)) == []
    assert desk.staged() == []
