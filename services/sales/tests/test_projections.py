"""What the read models of sales show after which events."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from crm_events.envelope import Recorded, event_id
from crm_events.event import Event, Sealed
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
    LossReason,
    OpportunityLost,
    OpportunityOpened,
    OpportunityStage,
    OpportunityStageChanged,
    OpportunityWon,
)
from crm_platform.testing import SOME_STREAM, SOME_TIME, fold_all, recorded, story_id
from crm_sales.domain.lead import opportunity_of
from crm_sales.projections.leads import LeadRow, Leads
from crm_sales.projections.opportunities import Opportunities, OpportunityRow

CONTACT = story_id("the contact Ann")
DEAL = opportunity_of(SOME_STREAM)
LATER = SOME_TIME + timedelta(days=1)


def sealed(stream: UUID, sequence: int) -> Sealed:
    return Sealed(event=event_id(stream, sequence), subject=SOME_STREAM, key=story_id("a key"), box="c2VhbGVk")


def happened(stream: UUID, *events: Event) -> list[Recorded[Event]]:
    return [
        recorded(event, subject=stream, sequence=n, time=SOME_TIME + timedelta(minutes=n))
        for n, event in enumerate(events, 1)
    ]


CAPTURED = LeadCaptured(source="web", inquiry=sealed(SOME_STREAM, 1), occurred_at=SOME_TIME)
LINKED = LeadLinked(contact_id=CONTACT, occurred_at=SOME_TIME)
OPENED = OpportunityOpened(
    lead_id=SOME_STREAM,
    value=Money(amount=Decimal("1200.5"), currency="EUR"),
    stage=OpportunityStage.DISCOVERY,
    details=sealed(DEAL, 1),
    occurred_at=SOME_TIME,
)


def lead_after(*events: Event) -> LeadRow:
    (row,) = fold_all(Leads(), happened(SOME_STREAM, *events)).values()
    assert isinstance(row, LeadRow)
    return row


def deal_after(*events: Event) -> OpportunityRow:
    (row,) = fold_all(Opportunities(), happened(DEAL, *events)).values()
    assert isinstance(row, OpportunityRow)
    return row


def test_a_captured_lead_is_new_and_its_inquiry_stays_sealed() -> None:
    row = lead_after(CAPTURED)
    assert (row.id, row.version, row.stage, row.source) == (str(SOME_STREAM), 1, "new", "web")
    assert (row.captured_at, row.changed_at) == (SOME_TIME, SOME_TIME + timedelta(minutes=1))
    assert row.inquiry
    assert row.inquiry.box == "c2VhbGVk"


def test_a_read_model_refuses_an_open_inquiry() -> None:
    with pytest.raises(TypeError, match="sealed"):
        lead_after(LeadCaptured(source="web", inquiry=Inquiry(party=Party(name="Ann")), occurred_at=SOME_TIME))


def test_a_linked_lead_shows_its_contact_and_awaits_nothing_more() -> None:
    row = lead_after(CAPTURED, LINKED)
    assert (row.contact_id, row.awaits, row.version) == (str(CONTACT), "", 2)


def test_a_lead_of_an_unknown_party_has_no_contact_and_awaits_nothing_more() -> None:
    row = lead_after(CAPTURED, LINKED, LeadPartyUnknown(reason="erased", occurred_at=SOME_TIME))
    assert (row.contact_id, row.party_unknown, row.awaits) == (None, "erased", "")


def test_a_lead_that_is_linked_after_all_has_no_reason_to_be_without_a_contact() -> None:
    row = lead_after(CAPTURED, LeadPartyUnknown(reason="not_identified", occurred_at=SOME_TIME), LINKED)
    assert (row.contact_id, row.party_unknown) == (str(CONTACT), None)


def test_a_converted_lead_names_its_opportunity() -> None:
    converted = LeadConverted(source="web", opportunity_id=DEAL, occurred_at=LATER)
    row = lead_after(CAPTURED, LeadQualified(score=80, occurred_at=LATER), converted)
    assert (row.stage, row.score, row.opportunity_id) == ("converted", 80, str(DEAL))


def test_a_disqualified_lead_says_why() -> None:
    reason, note = DisqualificationReason.NO_FIT, sealed(SOME_STREAM, 2)
    row = lead_after(CAPTURED, LeadDisqualified(reason=reason, note=note, occurred_at=LATER))
    assert (row.stage, row.reason) == ("disqualified", "no_fit")
    assert row.note


def test_an_opened_opportunity_is_worth_its_value_in_minor_units() -> None:
    row = deal_after(OPENED)
    assert (row.id, row.lead_id, row.status, row.stage) == (str(DEAL), str(SOME_STREAM), "open", "discovery")
    assert (row.amount, row.currency, row.opened_at, row.closed_at) == (120050, "EUR", SOME_TIME, None)


def test_a_won_opportunity_keeps_its_last_stage_and_is_worth_what_was_won() -> None:
    proposal = OpportunityStageChanged(
        lead_id=SOME_STREAM,
        previous=OpportunityStage.DISCOVERY,
        stage=OpportunityStage.PROPOSAL,
        occurred_at=SOME_TIME,
    )
    won = OpportunityWon(lead_id=SOME_STREAM, value=Money(amount=Decimal("0.01"), currency="USD"), occurred_at=LATER)
    row = deal_after(OPENED, proposal, won)
    assert (row.status, row.stage, row.amount, row.currency) == ("won", "proposal", 1, "USD")
    assert (row.closed_at, row.version) == (LATER, 3)


def test_a_lost_opportunity_says_why() -> None:
    lost = OpportunityLost(lead_id=SOME_STREAM, reason=LossReason.PRICE, note=sealed(DEAL, 2), occurred_at=LATER)
    row = deal_after(OPENED, lost)
    assert (row.status, row.reason, row.closed_at, row.amount) == ("lost", "price", LATER, 120050)
    assert row.note
