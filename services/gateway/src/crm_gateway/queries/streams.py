"""The streams in which a customer's facts stand: found by the records of today, for no record changes whose it is."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from crm_gateway.projections.campaigns import CampaignRecord, EngagementRecord, EnrolmentRecord
from crm_gateway.projections.leads import LeadRecord
from crm_gateway.projections.opportunities import OpportunityRecord
from crm_gateway.projections.parties import PartyLink
from crm_gateway.projections.profile import CustomerProfile
from crm_gateway.projections.tickets import TicketRecord
from crm_gateway.projections.timeline import TimelineEntry
from crm_platform.history import Streams
from crm_platform.mongo import Row
from crm_platform.projection import Document
from crm_platform.read_model import ReadModel


@dataclass(frozen=True, slots=True)
class OwnStreams:
    """The streams that belong to a customer, by id, with their lengths.

    `answers` holds, for each that is the customer's only because contacts answered so, the stream of that answer.
    `campaigns` are those that the customer is in: their streams are nobody's.
    """

    lengths: dict[str, int] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    campaigns: set[str] = field(default_factory=set)


async def own_streams(customers: ReadModel, contact_id: str) -> OwnStreams:
    """The streams of a customer; none where it is not known."""
    found, mine = OwnStreams(), (contact_id,)
    await _add(customers, found, CustomerProfile, "_id", mine)
    await _add(customers, found, TimelineEntry, "contact_id", mine)
    for touch in (EnrolmentRecord, EngagementRecord):
        rows = await _add(customers, found, touch, "contact_id", mine, "campaign_id")
        found.campaigns.update(row["campaign_id"] for row in rows)
    links = await _add(customers, found, PartyLink, "contact_id", mine, "cause", "cause_id")
    answers = {link["cause_id"]: link["_id"] for link in links}
    leads = [link["cause_id"] for link in links if link["cause"] == "lead"]
    asked = await _add(customers, found, LeadRecord, "_id", leads)
    asked += await _add(
        customers, found, TicketRecord, "_id", [link["cause_id"] for link in links if link["cause"] == "ticket"]
    )
    deals = await _add(customers, found, OpportunityRecord, "lead_id", leads, "lead_id")
    found.answers.update({row["_id"]: answers[row["_id"]] for row in asked})
    found.answers.update({deal["_id"]: answers[deal["lead_id"]] for deal in deals})
    return found


async def customer_streams(customers: ReadModel, contact_id: str) -> Streams:
    """The streams of a customer, and of the campaigns that it is in, with their lengths."""
    own = await own_streams(customers, contact_id)
    await _add(customers, own, CampaignRecord, "_id", own.campaigns)
    return own.lengths


async def _add(
    customers: ReadModel, streams: OwnStreams, kind: type[Document], field: str, values: Iterable[str], *members: str
) -> list[Row]:
    """Collect streams: a record that follows an aggregate has its stream's id, and as version the stream's length.

    Returns the members asked for of each record found.
    """
    wanted = list(values)
    if not wanted:
        return []
    projection = dict.fromkeys(("version", *members), 1)
    rows = await customers.collection(kind).find({field: {"$in": wanted}}, projection).to_list(None)
    streams.lengths.update({row["_id"]: row["version"] for row in rows})
    return rows
