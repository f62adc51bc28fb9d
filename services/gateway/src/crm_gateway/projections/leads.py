"""Interest that the customer showed. Whose lead it is, its PartyLink says."""

from datetime import datetime

import msgspec

from crm_events.envelope import Recorded
from crm_events.sales import (
    LeadCaptured,
    LeadConverted,
    LeadDisqualified,
    LeadLinked,
    LeadPartyUnknown,
    LeadQualified,
)
from crm_platform.projection import Document, Projection, fold
from crm_platform.sealing import SealedBlock


class LeadRecord(Document, frozen=True, kw_only=True):
    """A lead. `stage` is new, qualified, disqualified or converted; `score` runs from 0 to 100."""

    collection = "leads"

    source: str
    stage: str
    captured_at: datetime
    changed_at: datetime
    score: int | None = None
    reason: str | None = None
    opportunity_id: str | None = None
    inquiry: SealedBlock | None = None
    note: SealedBlock | None = None


class LeadFolds(Projection):
    @fold(LeadCaptured, LeadRecord)
    def lead_captured(self, _: LeadRecord | None, event: Recorded[LeadCaptured]) -> LeadRecord:
        return LeadRecord(
            id=str(event.subject),
            version=event.sequence,
            source=event.data.source,
            stage="new",
            captured_at=event.data.occurred_at,
            changed_at=event.data.occurred_at,
            inquiry=SealedBlock.of(event.data.inquiry),
        )

    @fold(LeadLinked, LeadRecord)
    @fold(LeadPartyUnknown, LeadRecord)
    def lead_answered(self, lead: LeadRecord, event: Recorded[LeadLinked | LeadPartyUnknown]) -> LeadRecord:
        return msgspec.structs.replace(lead, version=event.sequence)

    @fold(LeadQualified, LeadRecord)
    def lead_qualified(self, lead: LeadRecord, event: Recorded[LeadQualified]) -> LeadRecord:
        return msgspec.structs.replace(
            lead,
            version=event.sequence,
            stage="qualified",
            score=event.data.score,
            changed_at=event.data.occurred_at,
        )

    @fold(LeadDisqualified, LeadRecord)
    def lead_disqualified(self, lead: LeadRecord, event: Recorded[LeadDisqualified]) -> LeadRecord:
        return msgspec.structs.replace(
            lead,
            version=event.sequence,
            stage="disqualified",
            reason=event.data.reason.value,
            note=SealedBlock.of(event.data.note),
            changed_at=event.data.occurred_at,
        )

    @fold(LeadConverted, LeadRecord)
    def lead_converted(self, lead: LeadRecord, event: Recorded[LeadConverted]) -> LeadRecord:
        return msgspec.structs.replace(
            lead,
            version=event.sequence,
            stage="converted",
            opportunity_id=str(event.data.opportunity_id),
            changed_at=event.data.occurred_at,
        )
