"""Questions about leads."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from crm_events.contacts import UnknownReason
from crm_events.parties import Note
from crm_events.sales import DisqualificationReason, Inquiry
from crm_platform.http.reads import Page, PageRequest
from crm_platform.read_model import ReadModel
from crm_sales.domain.lead import LeadStage
from crm_sales.projections.leads import LeadRow


class LeadView(BaseModel):
    """A lead as people see it. `inquiry` and `note` are null once the person's data is erased.

    `party_unknown` says why it has no contact and will have none; null if it has one, or has not been answered yet.
    """

    id: UUID
    version: int
    stage: LeadStage
    source: str
    captured_at: datetime
    changed_at: datetime
    inquiry: Inquiry | None
    contact_id: UUID | None
    party_unknown: UnknownReason | None
    score: int | None
    reason: DisqualificationReason | None
    note: Note | None
    opportunity_id: UUID | None


async def the_lead(leads: ReadModel, lead_id: UUID) -> LeadView:
    """Raises NotFound."""
    (view,) = await _views(leads, [await leads.get(LeadRow, lead_id)])
    return view


async def newest_leads(
    leads: ReadModel, paging: PageRequest, *, stage: LeadStage | None, source: str | None
) -> Page[LeadView]:
    where = {"stage": stage and stage.value, "source": source}
    page = await leads.page(
        LeadRow, paging, {name: value for name, value in where.items() if value is not None}, newest_by="captured_at"
    )
    return page.of(await _views(leads, page.items))


async def _views(leads: ReadModel, rows: Sequence[LeadRow]) -> list[LeadView]:
    inquiries = await leads.open_all([row.inquiry for row in rows], Inquiry)
    notes = await leads.open_all([row.note for row in rows], Note)
    return [_view(row, inquiry, note) for row, inquiry, note in zip(rows, inquiries, notes, strict=True)]


def _view(row: LeadRow, inquiry: Inquiry | None, note: Note | None) -> LeadView:
    return LeadView(
        id=UUID(row.id),
        version=row.version,
        stage=LeadStage(row.stage),
        source=row.source,
        captured_at=row.captured_at,
        changed_at=row.changed_at,
        inquiry=inquiry,
        contact_id=UUID(row.contact_id) if row.contact_id else None,
        party_unknown=UnknownReason(row.party_unknown) if row.party_unknown else None,
        score=row.score,
        reason=DisqualificationReason(row.reason) if row.reason else None,
        note=note,
        opportunity_id=UUID(row.opportunity_id) if row.opportunity_id else None,
    )
