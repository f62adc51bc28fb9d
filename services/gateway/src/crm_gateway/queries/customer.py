"""A customer's records, live or of any past moment. Two selections, however long the history is."""

from crm_gateway.projections.campaigns import CampaignRecord, EngagementRecord, EnrolmentRecord
from crm_gateway.projections.leads import LeadRecord
from crm_gateway.projections.opportunities import OpportunityRecord
from crm_gateway.projections.parties import PartyLink
from crm_gateway.projections.profile import CustomerProfile
from crm_gateway.projections.tickets import TicketRecord, TicketReply
from crm_gateway.projections.timeline import TimelineEntry
from crm_gateway.projections.totals import CustomerTotals
from crm_gateway.queries.selection import Records, TimelinePosition, Wanted
from crm_gateway.view import CustomerRecords
from crm_platform.errors import NotFound

RELATED_SHOWN = 200
"""Of leads and tickets together, of campaigns, and of engagements: the newest this many belong to a view."""


async def customer_records(records: Records, contact_id: str, timeline_limit: int) -> CustomerRecords:
    """All records of a customer, with the first `timeline_limit` of the timeline and one more. Raises NotFound."""
    mine, more = (contact_id,), RELATED_SHOWN + 1
    own = await records.select(
        Wanted(CustomerProfile, "_id", mine),
        Wanted(TimelineEntry, "contact_id", mine, newest_by="occurred_at", limit=timeline_limit + 1),
        Wanted(CustomerTotals, "contact_id", mine),
        Wanted(PartyLink, "contact_id", mine, newest_by="answered_at", limit=more),
        Wanted(EnrolmentRecord, "contact_id", mine, newest_by="enrolled_at", limit=more),
        Wanted(EngagementRecord, "contact_id", mine, newest_by="occurred_at", limit=more),
    )
    if own.empty:
        raise NotFound(f"There is no customer {contact_id}.")

    links, enrolments, engagements = own.of(PartyLink), own.of(EnrolmentRecord), own.of(EngagementRecord)
    shown = links[:RELATED_SHOWN]
    leads = [link.cause_id for link in shown if link.cause == "lead"]
    tickets = [link.cause_id for link in shown if link.cause == "ticket"]
    campaigns = {enrolment.campaign_id for enrolment in enrolments} | {answer.campaign_id for answer in engagements}

    joined = await records.select(
        Wanted(LeadRecord, "_id", leads),
        Wanted(OpportunityRecord, "lead_id", leads),
        Wanted(TicketRecord, "_id", tickets),
        Wanted(TicketReply, "ticket_id", tickets, newest_by="occurred_at", limit=timeline_limit + 1),
        Wanted(CampaignRecord, "_id", list(campaigns)),
    )
    return CustomerRecords(
        contact_id=contact_id,
        profile=next(iter(own.of(CustomerProfile)), None),
        timeline=own.of(TimelineEntry),
        totals=own.of(CustomerTotals),
        enrolments=enrolments[:RELATED_SHOWN],
        engagements=engagements[:RELATED_SHOWN],
        leads=joined.of(LeadRecord),
        opportunities=joined.of(OpportunityRecord),
        tickets=joined.of(TicketRecord),
        replies=joined.of(TicketReply),
        campaigns=joined.of(CampaignRecord),
        complete=max(len(links), len(enrolments), len(engagements)) <= RELATED_SHOWN,
    )


async def timeline_records(
    records: Records, contact_id: str, after: TimelinePosition | None, limit: int
) -> CustomerRecords:
    """The next `limit` records of a customer's timeline after a position (None: from its start), and one more.

    Raises NotFound.
    """
    mine, more = (contact_id,), limit + 1
    own = await records.select(
        Wanted(CustomerProfile, "_id", mine),
        Wanted(EnrolmentRecord, "contact_id", mine, newest_by="enrolled_at", limit=1),
        Wanted(PartyLink, "contact_id", mine, newest_by="answered_at", limit=RELATED_SHOWN),
        Wanted(TimelineEntry, "contact_id", mine, newest_by="occurred_at", limit=more, before=after),
    )
    if own.empty:
        raise NotFound(f"There is no customer {contact_id}.")
    tickets = [link.cause_id for link in own.of(PartyLink) if link.cause == "ticket"]
    joined = await records.select(
        Wanted(TicketReply, "ticket_id", tickets, newest_by="occurred_at", limit=more, before=after)
    )
    return CustomerRecords(contact_id=contact_id, timeline=own.of(TimelineEntry), replies=joined.of(TicketReply))
