"""A lead: somebody who showed interest, until it is worth pursuing or not."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid5

from crm_events.event import Event, Sealed
from crm_events.parties import Note
from crm_events.sales import (
    DisqualificationReason,
    Inquiry,
    LeadCaptured,
    LeadConverted,
    LeadDisqualified,
    LeadLinked,
    LeadPartyUnknown,
    LeadQualified,
)
from crm_platform.aggregate import Aggregate
from crm_platform.errors import AlreadyTaken, NotAllowed


class LeadStage(StrEnum):
    NEW = "new"
    QUALIFIED = "qualified"
    DISQUALIFIED = "disqualified"
    CONVERTED = "converted"


class Lead(Aggregate):
    def __init__(self, id: UUID) -> None:  # noqa: A002 - it is the lead's id
        super().__init__(id)
        self.stage: LeadStage | None = None
        self.source = ""
        self.inquiry: Inquiry | Sealed | None = None
        self.contact_id: UUID | None = None
        self.party_unknown: str | None = None
        self.opportunity_id: UUID | None = None

    @property
    def exists(self) -> bool:
        """A stream that began with anything but a captured lead is no lead."""
        return self.stage is not None

    def capture(self, inquiry: Inquiry, source: str, at: datetime) -> None:
        if self.version:
            raise AlreadyTaken(f"The id {self.id} is in use; send the lead with another Idempotency-Key.")
        self.record(LeadCaptured(source=source, inquiry=inquiry, occurred_at=at))

    def qualify(self, score: int, at: datetime) -> None:
        """`score` runs from 0 to 100."""
        self._must_be(LeadStage.NEW, to="be qualified")
        self.record(LeadQualified(score=score, occurred_at=at))

    def disqualify(self, reason: DisqualificationReason, note: Note | None, at: datetime) -> None:
        self._must_be(LeadStage.NEW, LeadStage.QUALIFIED, to="be disqualified")
        self.record(LeadDisqualified(reason=reason, note=note, occurred_at=at))

    def convert(self, at: datetime) -> UUID:
        """The lead becomes an opportunity; returns the opportunity's id."""
        self._must_be(LeadStage.QUALIFIED, to="be converted")
        opportunity_id = opportunity_of(self.id)
        self.record(LeadConverted(source=self.source, opportunity_id=opportunity_id, occurred_at=at))
        return opportunity_id

    def link(self, contact_id: UUID, at: datetime) -> None:
        """The lead's party is this contact; to be told so again changes nothing."""
        if self.contact_id != contact_id:
            self.record(LeadLinked(contact_id=contact_id, occurred_at=at))

    def miss_party(self, reason: str, at: datetime) -> None:
        """Contacts knows nobody for the lead's party; to be told so again changes nothing."""
        if self.party_unknown != reason:
            self.record(LeadPartyUnknown(reason=reason, occurred_at=at))

    def apply(self, event: Event) -> None:
        match event:
            case LeadCaptured():
                self.stage, self.source, self.inquiry = LeadStage.NEW, event.source, event.inquiry
            case LeadLinked():
                self.contact_id, self.party_unknown = event.contact_id, None
            case LeadPartyUnknown():
                self.contact_id, self.party_unknown = None, event.reason
            case LeadQualified():
                self.stage = LeadStage.QUALIFIED
            case LeadDisqualified():
                self.stage = LeadStage.DISQUALIFIED
            case LeadConverted():
                self.stage, self.opportunity_id = LeadStage.CONVERTED, event.opportunity_id

    def _must_be(self, *stages: LeadStage, to: str) -> None:
        if self.stage not in stages:
            raise NotAllowed(f"The lead is {self.stage}; only a {' or '.join(stages)} lead can {to}.")


def opportunity_of(lead_id: UUID) -> UUID:
    """The id of the opportunity that a lead becomes: a lead becomes one at most."""
    return uuid5(lead_id, "opportunity")
