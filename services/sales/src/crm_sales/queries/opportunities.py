"""Questions about opportunities."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel

from crm_events.parties import Money, Note
from crm_events.sales import LossReason, OpportunityStage, OpportunityTitle
from crm_platform.http.reads import Page, PageRequest
from crm_platform.read_model import ReadModel
from crm_sales.domain.opportunity import OpportunityStatus
from crm_sales.projections.opportunities import OpportunityRow


class OpportunityView(BaseModel):
    """An opportunity as people see it. `title` and `note` are null once the person's data is erased."""

    id: UUID
    version: int
    lead_id: UUID
    title: str | None
    stage: OpportunityStage
    status: OpportunityStatus
    value: Money
    expected_close: date | None
    opened_at: datetime
    changed_at: datetime
    closed_at: datetime | None
    reason: LossReason | None
    note: Note | None


async def the_opportunity(opportunities: ReadModel, opportunity_id: UUID) -> OpportunityView:
    """Raises NotFound."""
    (view,) = await _views(opportunities, [await opportunities.get(OpportunityRow, opportunity_id)])
    return view


async def newest_opportunities(
    opportunities: ReadModel,
    paging: PageRequest,
    *,
    stage: OpportunityStage | None,
    status: OpportunityStatus | None,
) -> Page[OpportunityView]:
    where = {"stage": stage and stage.value, "status": status and status.value}
    page = await opportunities.page(
        OpportunityRow,
        paging,
        {name: value for name, value in where.items() if value is not None},
        newest_by="opened_at",
    )
    return page.of(await _views(opportunities, page.items))


async def _views(opportunities: ReadModel, rows: Sequence[OpportunityRow]) -> list[OpportunityView]:
    details = await opportunities.open_all([row.details for row in rows], OpportunityTitle)
    notes = await opportunities.open_all([row.note for row in rows], Note)
    return [_view(row, title, note) for row, title, note in zip(rows, details, notes, strict=True)]


def _view(row: OpportunityRow, details: OpportunityTitle | None, note: Note | None) -> OpportunityView:
    return OpportunityView(
        id=UUID(row.id),
        version=row.version,
        lead_id=UUID(row.lead_id),
        title=details.title if details else None,
        stage=OpportunityStage(row.stage),
        status=OpportunityStatus(row.status),
        value=Money(amount=Decimal(row.amount).scaleb(-2), currency=row.currency),
        expected_close=date.fromisoformat(row.expected_close) if row.expected_close else None,
        opened_at=row.opened_at,
        changed_at=row.changed_at,
        closed_at=row.closed_at,
        reason=LossReason(row.reason) if row.reason else None,
        note=note,
    )
