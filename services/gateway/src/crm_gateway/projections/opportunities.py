"""Deals on the table. A deal belongs to its lead, and through it to the customer."""

from datetime import datetime

import msgspec

from crm_events.envelope import Recorded
from crm_events.sales import OpportunityLost, OpportunityOpened, OpportunityStageChanged, OpportunityWon
from crm_gateway.projections.money import Price
from crm_platform.projection import Document, Index, Projection, fold
from crm_platform.sealing import SealedBlock


class OpportunityRecord(Document, frozen=True, kw_only=True):
    """A deal. `status` is open, won or lost, `stage` how far it came; `expected_close` a date (ISO 8601)."""

    collection = "opportunities"
    indexes = (Index("lead_id"),)

    lead_id: str
    status: str
    stage: str
    value: Price
    opened_at: datetime
    changed_at: datetime
    expected_close: str | None = None
    closed_at: datetime | None = None
    loss_reason: str | None = None
    details: SealedBlock | None = None
    note: SealedBlock | None = None


class OpportunityFolds(Projection):
    @fold(OpportunityOpened, OpportunityRecord)
    def opportunity_opened(self, _: OpportunityRecord | None, event: Recorded[OpportunityOpened]) -> OpportunityRecord:
        opened = event.data
        return OpportunityRecord(
            id=str(event.subject),
            version=event.sequence,
            lead_id=str(opened.lead_id),
            status="open",
            stage=opened.stage.value,
            value=Price(minor=opened.value.minor_units, currency=opened.value.currency),
            opened_at=opened.occurred_at,
            changed_at=opened.occurred_at,
            expected_close=opened.expected_close.isoformat() if opened.expected_close else None,
            details=SealedBlock.of(opened.details),
        )

    @fold(OpportunityStageChanged, OpportunityRecord)
    def opportunity_moved(self, deal: OpportunityRecord, event: Recorded[OpportunityStageChanged]) -> OpportunityRecord:
        return msgspec.structs.replace(
            deal, version=event.sequence, stage=event.data.stage.value, changed_at=event.data.occurred_at
        )

    @fold(OpportunityWon, OpportunityRecord)
    def opportunity_won(self, deal: OpportunityRecord, event: Recorded[OpportunityWon]) -> OpportunityRecord:
        return msgspec.structs.replace(
            deal,
            version=event.sequence,
            status="won",
            value=Price(minor=event.data.value.minor_units, currency=event.data.value.currency),
            changed_at=event.data.occurred_at,
            closed_at=event.data.occurred_at,
        )

    @fold(OpportunityLost, OpportunityRecord)
    def opportunity_lost(self, deal: OpportunityRecord, event: Recorded[OpportunityLost]) -> OpportunityRecord:
        return msgspec.structs.replace(
            deal,
            version=event.sequence,
            status="lost",
            loss_reason=event.data.reason.value,
            note=SealedBlock.of(event.data.note),
            changed_at=event.data.occurred_at,
            closed_at=event.data.occurred_at,
        )
