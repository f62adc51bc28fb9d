"""Campaigns, who is in them, and who answered."""

from datetime import datetime

import msgspec

from crm_events.envelope import Recorded
from crm_events.marketing import CampaignCreated, CampaignLaunched, ContactEnrolled, EngagementRecorded
from crm_platform.projection import Document, Index, Projection, fold


class CampaignRecord(Document, frozen=True, kw_only=True):
    collection = "campaigns"

    name: str
    channel: str
    launched_at: datetime | None = None


class EnrolmentRecord(Document, frozen=True, kw_only=True):
    """A contact is in a campaign."""

    collection = "enrolments"
    indexes = (Index("contact_id", "-enrolled_at", "-_id"),)

    contact_id: str
    campaign_id: str
    enrolled_at: datetime


class EngagementRecord(Document, frozen=True, kw_only=True):
    """A contact answered a campaign with an interaction."""

    collection = "engagements"
    indexes = (Index("contact_id", "-occurred_at", "-_id"),)

    contact_id: str
    campaign_id: str
    interaction_id: str
    channel: str
    occurred_at: datetime


class CampaignFolds(Projection):
    @fold(CampaignCreated, CampaignRecord)
    def campaign_created(self, _: CampaignRecord | None, event: Recorded[CampaignCreated]) -> CampaignRecord:
        return CampaignRecord(
            id=str(event.subject),
            version=event.sequence,
            name=event.data.name,
            channel=event.data.channel.value,
        )

    @fold(CampaignLaunched, CampaignRecord)
    def campaign_launched(self, campaign: CampaignRecord, event: Recorded[CampaignLaunched]) -> CampaignRecord:
        return msgspec.structs.replace(campaign, version=event.sequence, launched_at=event.data.occurred_at)

    @fold(ContactEnrolled, EnrolmentRecord)
    def contact_enrolled(self, _: EnrolmentRecord | None, event: Recorded[ContactEnrolled]) -> EnrolmentRecord:
        return EnrolmentRecord(
            id=str(event.subject),
            version=event.sequence,
            contact_id=str(event.data.contact_id),
            campaign_id=str(event.data.campaign_id),
            enrolled_at=event.data.occurred_at,
        )

    @fold(EngagementRecorded, EngagementRecord)
    def engagement_recorded(self, _: EngagementRecord | None, event: Recorded[EngagementRecorded]) -> EngagementRecord:
        return EngagementRecord(
            id=str(event.subject),
            version=event.sequence,
            contact_id=str(event.data.contact_id),
            campaign_id=str(event.data.campaign_id),
            interaction_id=str(event.data.interaction_id),
            channel=event.data.channel.value,
            occurred_at=event.data.occurred_at,
        )
