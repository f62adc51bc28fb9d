"""A customer as of any past moment. The cost grows with the events of that customer, not with anybody else's."""

from collections.abc import Iterable
from datetime import UTC, datetime

from crm_gateway.projections.campaigns import CampaignRecord, EngagementRecord, EnrolmentRecord
from crm_gateway.projections.leads import LeadRecord
from crm_gateway.projections.opportunities import OpportunityRecord
from crm_gateway.projections.parties import PartyLink
from crm_gateway.projections.profile import CustomerProfile
from crm_gateway.projections.tickets import TicketRecord
from crm_gateway.projections.timeline import TimelineEntry
from crm_gateway.queries.selection import FoldedRecords
from crm_platform.errors import NotFound, NotYetHappened, Refusal
from crm_platform.history import Streams
from crm_platform.inbound import Inbound
from crm_platform.mongo import Row
from crm_platform.past import Axis, documents_after, known_at
from crm_platform.projection import Document
from crm_platform.read_model import ReadModel

MOST_EVENTS = 100_000
"""Of one customer. Whoever has more is no person."""


class TooManyEvents(Refusal):
    status, code, title = 422, "too-many-events", "There are too many events"


async def past_records(customers: ReadModel, contact_id: str, at: datetime, axis: Axis) -> FoldedRecords:
    """The records of a customer as they were. Raises NotYetHappened, NotFound and TooManyEvents."""
    if at > datetime.now(UTC):
        raise NotYetHappened("`at` is yet to come: give a moment that is past, or leave it out for the live view.")
    kept = await customer_events(customers, contact_id)
    known = known_at(kept, at, axis)
    if not known:
        first = min(_instant(inbound, axis) for inbound in kept)
        raise NotFound(
            f"There was no customer {contact_id} then: the first fact about it "
            f"{'was recorded' if axis is Axis.RECORDED else 'is of'} {_written(first)}."
        )
    return FoldedRecords(documents_after(customers.generation.projection, known))


async def customer_events(customers: ReadModel, contact_id: str) -> list[Inbound]:
    """Every event of a customer, each stream's in order. Raises NotFound and TooManyEvents."""
    streams = await customer_streams(customers, contact_id)
    if not streams:
        raise NotFound(f"There is no customer {contact_id}.")
    if (events := sum(streams.values())) > MOST_EVENTS:
        raise TooManyEvents(f"This customer has {events} events; the past is told of {MOST_EVENTS} at most.")
    return await customers.history.of_streams(streams)


async def customer_streams(customers: ReadModel, contact_id: str) -> Streams:
    """The streams in which a customer's facts stand, with their lengths.

    A record never changes whose it is, so what belonged to a customer at any time is found by what does today.
    """
    own, mine = _Streams(customers), (contact_id,)
    await own.add(CustomerProfile, "_id", mine)
    await own.add(TimelineEntry, "contact_id", mine)
    touched = await own.add(EnrolmentRecord, "contact_id", mine, "campaign_id")
    touched += await own.add(EngagementRecord, "contact_id", mine, "campaign_id")
    links = await own.add(PartyLink, "contact_id", mine, "cause", "cause_id")
    leads = [link["cause_id"] for link in links if link["cause"] == "lead"]
    await own.add(LeadRecord, "_id", leads)
    await own.add(OpportunityRecord, "lead_id", leads)
    await own.add(TicketRecord, "_id", [link["cause_id"] for link in links if link["cause"] == "ticket"])
    await own.add(CampaignRecord, "_id", {row["campaign_id"] for row in touched})
    return own.lengths


class _Streams:
    """Collects streams: a record that follows an aggregate has its stream's id, and as version the stream's length."""

    def __init__(self, customers: ReadModel) -> None:
        self._customers = customers
        self.lengths: dict[str, int] = {}

    async def add(self, kind: type[Document], field: str, values: Iterable[str], *members: str) -> list[Row]:
        """Returns the members asked for of each record found."""
        where, wanted = {field: {"$in": list(values)}}, dict.fromkeys(("version", *members), 1)
        rows = await self._customers.collection(kind).find(where, wanted).to_list(None)
        self.lengths |= {row["_id"]: row["version"] for row in rows}
        return rows


def _instant(inbound: Inbound, axis: Axis) -> datetime:
    assert inbound.event is not None  # noqa: S101 - what is kept was read before
    return inbound.event.time if axis is Axis.RECORDED else inbound.event.data.occurred_at


def _written(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
