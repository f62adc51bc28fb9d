"""Facts of the marketing service: campaigns, who is in them, who answers."""

from typing import ClassVar
from uuid import UUID, uuid5

from crm_events.adapter import Channel
from crm_events.event import Event

_ENROLMENT_NAMESPACE = UUID("f0b9b7b5-4b0f-5a1a-8a5b-2f3f5f0e8d41")
_ENGAGEMENT_NAMESPACE = UUID("3d3f2b63-91f2-5c7e-b1f2-9fb4e7c50a16")


class MarketingEvent(Event):
    context: ClassVar[str] = "marketing"


class CampaignCreated(MarketingEvent):
    """A campaign is planned; the first fact of every campaign."""

    name: str
    channel: Channel


class CampaignLaunched(MarketingEvent):
    """From now on the campaign speaks to people."""


class ContactEnrolled(MarketingEvent):
    """A contact is in a campaign. A stream of its own (`enrolment_stream`), so an enrolment happens once."""

    campaign_id: UUID
    contact_id: UUID


class EngagementRecorded(MarketingEvent):
    """A contact answered a campaign with an interaction. A stream of its own (`engagement_stream`)."""

    campaign_id: UUID
    contact_id: UUID
    interaction_id: UUID
    channel: Channel


def enrolment_stream(campaign_id: UUID, contact_id: UUID) -> UUID:
    return uuid5(_ENROLMENT_NAMESPACE, f"{campaign_id}/{contact_id}")


def engagement_stream(interaction_id: UUID) -> UUID:
    return uuid5(_ENGAGEMENT_NAMESPACE, str(interaction_id))
