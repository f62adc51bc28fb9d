"""The read model of leads: one row each."""

from datetime import datetime
from typing import Any, ClassVar

from msgspec.structs import replace

from crm_events.contacts import party_stream
from crm_events.envelope import Recorded
from crm_events.sales import (
    LeadCaptured,
    LeadConverted,
    LeadDisqualified,
    LeadLinked,
    LeadPartyUnknown,
    LeadQualified,
    SalesEvent,
)
from crm_events.topics import SALES
from crm_platform.projection import Document, Index, Projection, fold
from crm_platform.sealing import SealedBlock
from crm_sales.domain.lead import LeadStage


class LeadRow(Document, frozen=True, kw_only=True):
    """`awaits` is the stream in which contacts will answer, empty once it has; `changed_at` is when it last changed.

    `party_unknown` is why contacts knows nobody for it, None as long as it may.
    """

    collection: ClassVar[str] = "leads"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("-captured_at", "-_id"),
        Index("stage", "-captured_at", "-_id"),
        Index("source", "-captured_at", "-_id"),
        Index("awaits"),
    )

    stage: str
    source: str
    captured_at: datetime
    changed_at: datetime
    inquiry: SealedBlock | None
    contact_id: str | None = None
    party_unknown: str | None = None
    awaits: str = ""
    score: int | None = None
    reason: str | None = None
    note: SealedBlock | None = None
    opportunity_id: str | None = None


class Leads(Projection):
    name, version, topics = "sales.leads", 1, (SALES,)

    def pending_filter(self, stream: str) -> list[tuple[type[Document], dict[str, Any]]]:
        """A lead shows by what it awaits that contacts has not answered it yet."""
        return [(LeadRow, {"awaits": stream})]

    @fold(LeadCaptured, LeadRow)
    def captured(self, row: LeadRow | None, event: Recorded[LeadCaptured]) -> LeadRow:  # noqa: ARG002 - the first fact
        return LeadRow(
            id=str(event.subject),
            version=event.sequence,
            stage=LeadStage.NEW.value,
            source=event.data.source,
            captured_at=event.data.occurred_at,
            changed_at=event.time,
            inquiry=SealedBlock.of(event.data.inquiry),
            awaits=str(party_stream(event.subject)),
        )

    @fold(LeadLinked, LeadRow)
    def linked(self, row: LeadRow, event: Recorded[LeadLinked]) -> LeadRow:
        return _after(event, row, contact_id=str(event.data.contact_id), party_unknown=None, awaits="")

    @fold(LeadPartyUnknown, LeadRow)
    def party_unknown(self, row: LeadRow, event: Recorded[LeadPartyUnknown]) -> LeadRow:
        return _after(event, row, contact_id=None, party_unknown=event.data.reason, awaits="")

    @fold(LeadQualified, LeadRow)
    def qualified(self, row: LeadRow, event: Recorded[LeadQualified]) -> LeadRow:
        return _after(event, row, stage=LeadStage.QUALIFIED.value, score=event.data.score)

    @fold(LeadDisqualified, LeadRow)
    def disqualified(self, row: LeadRow, event: Recorded[LeadDisqualified]) -> LeadRow:
        reason, note = event.data.reason.value, SealedBlock.of(event.data.note)
        return _after(event, row, stage=LeadStage.DISQUALIFIED.value, reason=reason, note=note)

    @fold(LeadConverted, LeadRow)
    def converted(self, row: LeadRow, event: Recorded[LeadConverted]) -> LeadRow:
        return _after(event, row, stage=LeadStage.CONVERTED.value, opportunity_id=str(event.data.opportunity_id))


def _after(event: Recorded[SalesEvent], row: LeadRow, **changes: object) -> LeadRow:
    return replace(row, version=event.sequence, changed_at=event.time, **changes)
