"""The read model of campaigns. Counts are kept per partition and summed by the queries."""

from datetime import datetime
from typing import ClassVar

import msgspec

from crm_events.envelope import Recorded
from crm_events.marketing import CampaignCreated, CampaignLaunched, ContactEnrolled, EngagementRecorded
from crm_events.topics import MARKETING
from crm_marketing.domain import CampaignStage
from crm_platform.projection import Document, Index, Place, Projection, fold


class CampaignRow(Document, frozen=True, kw_only=True):
    collection: ClassVar[str] = "campaigns"
    indexes: ClassVar[tuple[Index, ...]] = (Index("-created_at"), Index("stage", "-created_at"))

    name: str
    channel: str
    stage: str
    created_at: datetime
    launched_at: datetime | None = None


class CampaignCounts(Document, frozen=True, kw_only=True):
    """What one partition holds of a campaign: its enrolments and engagements live in partitions of their own."""

    collection: ClassVar[str] = "campaign_counts"
    indexes: ClassVar[tuple[Index, ...]] = (Index("campaign_id"),)

    campaign_id: str
    enrolled: int = 0
    engaged: int = 0


def _counts_key(event: Recorded[ContactEnrolled] | Recorded[EngagementRecorded], place: Place) -> str:
    return f"{event.data.campaign_id}/{place.partition}"


class Campaigns(Projection):
    """Campaigns, with how many contacts are in them and how many interactions answered them."""

    name, version, topics = "marketing.campaigns", 1, (MARKETING,)

    @fold(CampaignCreated, CampaignRow)
    def created(self, row: CampaignRow | None, event: Recorded[CampaignCreated]) -> CampaignRow:  # noqa: ARG002 - first
        return CampaignRow(
            id=str(event.subject),
            version=event.sequence,
            name=event.data.name,
            channel=event.data.channel.value,
            stage=CampaignStage.PLANNED.value,
            created_at=event.data.occurred_at,
        )

    @fold(CampaignLaunched, CampaignRow)
    def launched(self, row: CampaignRow, event: Recorded[CampaignLaunched]) -> CampaignRow:
        return msgspec.structs.replace(
            row,
            version=event.sequence,
            stage=CampaignStage.LAUNCHED.value,
            launched_at=event.data.occurred_at,
        )

    @fold(ContactEnrolled, CampaignCounts, key=_counts_key)
    def enrolled(self, counts: CampaignCounts | None, event: Recorded[ContactEnrolled]) -> CampaignCounts:
        counts = counts or CampaignCounts(id="", campaign_id=str(event.data.campaign_id))
        return msgspec.structs.replace(counts, enrolled=counts.enrolled + 1)

    @fold(EngagementRecorded, CampaignCounts, key=_counts_key)
    def engaged(self, counts: CampaignCounts | None, event: Recorded[EngagementRecorded]) -> CampaignCounts:
        counts = counts or CampaignCounts(id="", campaign_id=str(event.data.campaign_id))
        return msgspec.structs.replace(counts, engaged=counts.engaged + 1)
