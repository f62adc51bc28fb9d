"""The read model of opportunities: one row each."""

from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from crm_events.envelope import Recorded
from crm_events.sales import (
    OpportunityEvent,
    OpportunityLost,
    OpportunityOpened,
    OpportunityStageChanged,
    OpportunityWon,
)
from crm_events.topics import SALES
from crm_platform.projection import Document, Index, Projection, fold
from crm_platform.sealing import SealedBlock
from crm_sales.domain.opportunity import OpportunityStatus


class OpportunityRow(Document, frozen=True, kw_only=True):
    """`amount` is in minor units (hundredths) of `currency`; `expected_close` is an ISO date."""

    collection: ClassVar[str] = "opportunities"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("-opened_at", "-_id"),
        Index("status", "-opened_at", "-_id"),
        Index("stage", "-opened_at", "-_id"),
    )

    lead_id: str
    stage: str
    status: str
    amount: int
    currency: str
    opened_at: datetime
    changed_at: datetime
    details: SealedBlock | None
    expected_close: str | None = None
    closed_at: datetime | None = None
    reason: str | None = None
    note: SealedBlock | None = None


class Opportunities(Projection):
    name, version, topics = "sales.opportunities", 1, (SALES,)

    @fold(OpportunityOpened, OpportunityRow)
    def opened(
        self,
        row: OpportunityRow | None,  # noqa: ARG002 - the first fact
        event: Recorded[OpportunityOpened],
    ) -> OpportunityRow:
        deal = event.data
        return OpportunityRow(
            id=str(event.subject),
            version=event.sequence,
            lead_id=str(deal.lead_id),
            stage=deal.stage.value,
            status=OpportunityStatus.OPEN.value,
            amount=deal.value.minor_units,
            currency=deal.value.currency,
            opened_at=deal.occurred_at,
            changed_at=event.time,
            details=SealedBlock.of(deal.details),
            expected_close=deal.expected_close.isoformat() if deal.expected_close else None,
        )

    @fold(OpportunityStageChanged, OpportunityRow)
    def stage_changed(self, row: OpportunityRow, event: Recorded[OpportunityStageChanged]) -> OpportunityRow:
        return _after(event, row, stage=event.data.stage.value)

    @fold(OpportunityWon, OpportunityRow)
    def won(self, row: OpportunityRow, event: Recorded[OpportunityWon]) -> OpportunityRow:
        return _after(
            event,
            row,
            status=OpportunityStatus.WON.value,
            amount=event.data.value.minor_units,
            currency=event.data.value.currency,
            closed_at=event.data.occurred_at,
        )

    @fold(OpportunityLost, OpportunityRow)
    def lost(self, row: OpportunityRow, event: Recorded[OpportunityLost]) -> OpportunityRow:
        return _after(
            event,
            row,
            status=OpportunityStatus.LOST.value,
            reason=event.data.reason.value,
            note=SealedBlock.of(event.data.note),
            closed_at=event.data.occurred_at,
        )


def _after(event: Recorded[OpportunityEvent], row: OpportunityRow, **changes: object) -> OpportunityRow:
    return replace(row, version=event.sequence, changed_at=event.time, **changes)
