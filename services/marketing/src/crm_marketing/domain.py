"""Campaigns, who is in them, and who answers."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from crm_events.adapter import Channel
from crm_events.event import Event
from crm_events.marketing import CampaignCreated, CampaignLaunched, ContactEnrolled, EngagementRecorded
from crm_platform.aggregate import Aggregate
from crm_platform.errors import NotAllowed


class CampaignStage(StrEnum):
    PLANNED = "planned"
    LAUNCHED = "launched"


class Campaign(Aggregate):
    """Something the business says to many people. It takes contacts and answers from its launch on."""

    stage: CampaignStage | None = None

    @property
    def exists(self) -> bool:
        """Whether it is a campaign: ids of enrolments and engagements name streams too."""
        return self.stage is not None

    @property
    def is_launched(self) -> bool:
        return self.stage is CampaignStage.LAUNCHED

    def create(self, name: str, channel: Channel, at: datetime) -> None:
        """Raises NotAllowed if the id is in use."""
        if self.version:
            raise NotAllowed(f"The id {self.id} is in use: create the campaign under another one.")
        self.record(CampaignCreated(name=name, channel=channel, occurred_at=at))

    def launch(self, at: datetime) -> None:
        """Raises NotAllowed if it is launched already."""
        if self.is_launched:
            raise NotAllowed(f"The campaign {self.id} is launched already; a campaign is launched once.")
        self.record(CampaignLaunched(occurred_at=at))

    def must_take_contacts(self) -> None:
        """Raises NotAllowed before the launch."""
        if not self.is_launched:
            raise NotAllowed(f"The campaign {self.id} takes no contacts before it is launched: launch it first.")

    def apply(self, event: Event) -> None:
        match event:
            case CampaignCreated():
                self.stage = CampaignStage.PLANNED
            case CampaignLaunched():
                self.stage = CampaignStage.LAUNCHED


class Enrolment(Aggregate):
    """One contact in one campaign; its id follows from both (`enrolment_stream`), so it happens once."""

    def enrol(self, campaign: Campaign, contact_id: UUID, at: datetime) -> None:
        """Enrol the contact; nothing happens if it is enrolled already. Raises NotAllowed before the launch.

        Whether the contact exists is not asked: contacts owns that, and marketing never calls it. Enrolling an
        unknown contact is a fact of marketing's own that no customer view shows.
        """
        campaign.must_take_contacts()
        if not self.exists:
            self.record(ContactEnrolled(campaign_id=campaign.id, contact_id=contact_id, occurred_at=at))

    def apply(self, event: Event) -> None:
        """That it happened is all there is to know."""


class Engagement(Aggregate):
    """One interaction that answers a campaign; its id follows from the interaction (`engagement_stream`)."""

    def answer(
        self, campaign: Campaign, *, contact_id: UUID, interaction_id: UUID, channel: Channel, at: datetime
    ) -> None:
        """Take the interaction as an answer, once; nothing happens if the campaign is not launched."""
        if self.exists or not campaign.is_launched:
            return
        self.record(
            EngagementRecorded(
                campaign_id=campaign.id,
                contact_id=contact_id,
                interaction_id=interaction_id,
                channel=channel,
                occurred_at=at,
            )
        )

    def apply(self, event: Event) -> None:
        """That it happened is all there is to know."""
