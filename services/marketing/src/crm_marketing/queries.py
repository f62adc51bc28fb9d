"""Questions about campaigns."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from crm_events.adapter import Channel
from crm_marketing.domain import CampaignStage
from crm_marketing.projections import CampaignCounts, CampaignRow
from crm_platform.http.reads import Page, PageRequest
from crm_platform.read_model import ReadModel


class CampaignView(BaseModel):
    """A campaign as people see it."""

    id: UUID
    version: int
    name: str
    channel: Channel
    stage: CampaignStage
    created_at: datetime
    launched_at: datetime | None
    enrolled: int = Field(description="Contacts in the campaign.")
    engaged: int = Field(description="Interactions that answered it; a contact may answer more than once.")


async def the_campaign(campaigns: ReadModel, campaign_id: UUID) -> CampaignView:
    """Raises NotFound."""
    (view,) = await _views(campaigns, [await campaigns.get(CampaignRow, campaign_id)])
    return view


async def newest_campaigns(
    campaigns: ReadModel, paging: PageRequest, *, stage: CampaignStage | None
) -> Page[CampaignView]:
    where = {"stage": stage.value} if stage else {}
    page = await campaigns.page(CampaignRow, paging, where, newest_by="created_at")
    return page.of(await _views(campaigns, page.items))


async def _views(campaigns: ReadModel, rows: Sequence[CampaignRow]) -> list[CampaignView]:
    enrolled: Counter[str] = Counter()
    engaged: Counter[str] = Counter()
    for counts in await campaigns.find(CampaignCounts, {"campaign_id": {"$in": [row.id for row in rows]}}):
        enrolled[counts.campaign_id] += counts.enrolled
        engaged[counts.campaign_id] += counts.engaged
    return [_view(row, enrolled=enrolled[row.id], engaged=engaged[row.id]) for row in rows]


def _view(row: CampaignRow, *, enrolled: int, engaged: int) -> CampaignView:
    return CampaignView(
        id=UUID(row.id),
        version=row.version,
        name=row.name,
        channel=Channel(row.channel),
        stage=CampaignStage(row.stage),
        created_at=row.created_at,
        launched_at=row.launched_at,
        enrolled=enrolled,
        engaged=engaged,
    )
