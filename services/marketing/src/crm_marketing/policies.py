"""What other services' facts mean for marketing."""

from collections.abc import Iterable
from uuid import UUID

from crm_events.contacts import InteractionLogged
from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_events.marketing import engagement_stream
from crm_events.topics import CONTACTS
from crm_marketing.domain import Campaign, Engagement
from crm_platform.policy import Policy, when
from crm_platform.work import UnitOfWork


class RecordEngagements(Policy):
    """An interaction that names a launched campaign is an answer to it.

    What names an unknown campaign, or one not launched when it is read, is no answer: nothing is recorded.
    """

    name, topics = "marketing.record-engagements", (CONTACTS,)

    def streams(self, event: Recorded[Event]) -> Iterable[UUID]:
        if isinstance(event.data, InteractionLogged) and event.data.campaign_id:
            return event.data.campaign_id, engagement_stream(event.subject)
        return ()

    @when(InteractionLogged, personal=False)
    def interaction_logged(self, event: Recorded[InteractionLogged], work: UnitOfWork) -> None:
        interaction = event.data
        if interaction.campaign_id is None:
            return
        campaign = work.load(Campaign, interaction.campaign_id)
        engagement = work.load(Engagement, engagement_stream(event.subject))
        engagement.answer(
            campaign,
            contact_id=interaction.contact_id,
            interaction_id=event.subject,
            channel=interaction.channel,
            at=interaction.occurred_at,
        )
        work.save(engagement)
