"""What happened between the customer and the business, one record for each touch."""

from datetime import datetime

from crm_events.contacts import InteractionLogged
from crm_events.envelope import Recorded
from crm_gateway.projections.money import Price
from crm_platform.projection import Document, Index, Projection, fold
from crm_platform.sealing import SealedBlock


class TimelineEntry(Document, frozen=True, kw_only=True):
    """An interaction, its content sealed; it stands in the timeline at `occurred_at`, however late it was recorded."""

    collection = "timeline"
    indexes = (Index("contact_id", "-occurred_at", "-_id"),)

    contact_id: str
    occurred_at: datetime
    recorded_at: datetime
    channel: str
    direction: str
    source: str
    order: Price | None = None
    campaign_id: str | None = None
    content: SealedBlock | None = None


class TimelineFolds(Projection):
    @fold(InteractionLogged, TimelineEntry)
    def interaction_logged(self, _: TimelineEntry | None, event: Recorded[InteractionLogged]) -> TimelineEntry:
        logged = event.data
        return TimelineEntry(
            id=str(event.subject),
            version=event.sequence,
            contact_id=str(logged.contact_id),
            occurred_at=logged.occurred_at,
            recorded_at=event.time,
            channel=logged.channel.value,
            direction=logged.direction.value,
            source=logged.source,
            order=Price.of(logged.order),
            campaign_id=str(logged.campaign_id) if logged.campaign_id else None,
            content=SealedBlock.of(logged.content),
        )
