"""The read model behind the single customer view."""

from crm_events.topics import CONTACTS, MARKETING, SALES, SERVICE
from crm_gateway.projections.campaigns import CampaignFolds
from crm_gateway.projections.leads import LeadFolds
from crm_gateway.projections.opportunities import OpportunityFolds
from crm_gateway.projections.parties import PartyFolds, PartyLink
from crm_gateway.projections.profile import CustomerProfile, ProfileFolds
from crm_gateway.projections.tickets import TicketFolds
from crm_gateway.projections.timeline import TimelineEntry, TimelineFolds
from crm_gateway.projections.totals import TotalsFolds


class Customers(
    ProfileFolds,
    TimelineFolds,
    TotalsFolds,
    PartyFolds,
    LeadFolds,
    OpportunityFolds,
    TicketFolds,
    CampaignFolds,
):
    """Everything about every customer, as records that are joined when they are read.

    Four topics arrive in no agreed order, so a record follows one aggregate (or, for totals, one partition) and never
    needs another one to be there: any interleaving of the topics leads to the same records (docs/adr/0004).
    """

    name, version, topics = "gateway.customers", 2, (CONTACTS, SALES, SERVICE, MARKETING)
    answers = (TimelineEntry, PartyLink, CustomerProfile)
    keeps_history = True
