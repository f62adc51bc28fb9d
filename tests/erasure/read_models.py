"""Every read model of the platform after a history, and the figures that it shows."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, TypeVar
from uuid import UUID

from services.gateway.tests.story import place_of
from tests.erasure.histories import History

from crm_analytics import kpis
from crm_analytics.projections import (
    ContactTotals,
    EngagementTotals,
    InteractionTotals,
    Kpis,
    LeadTotals,
    RevenueTotals,
    TicketTotals,
)
from crm_contacts.projections import Contacts
from crm_gateway.answers import CustomerView
from crm_gateway.projections.customers import Customers
from crm_gateway.queries.customer import customer_records
from crm_gateway.queries.selection import FoldedRecords
from crm_gateway.view import OpenedBlocks, compose, timeline_items
from crm_marketing.projections import CampaignCounts, CampaignRow, Campaigns
from crm_platform.folding import Documents, Target
from crm_platform.projection import Document, Projection
from crm_sales.projections.leads import LeadRow, Leads
from crm_sales.projections.opportunities import Opportunities, OpportunityRow
from crm_service.projections import TicketReplyRow, TicketRow, Tickets

PROJECTIONS: tuple[Projection, ...] = (
    Contacts(),
    Leads(),
    Opportunities(),
    Tickets(),
    Campaigns(),
    Kpis(),
    Customers(),
)
NOTHING_OPENS = OpenedBlocks({})

D = TypeVar("D", bound=Document)
Counts = Counter[tuple[object, ...]]


class Figures(NamedTuple):
    """Every count and sum that the platform tells, but for those of one customer."""

    kpis: kpis.Figures
    leads: Counts
    pipeline: Counts
    desk: Counts
    campaigns: Counts


class ReadModels:
    """The documents of every read model after a history, each folded from where its events are published."""

    def __init__(self, history: History) -> None:
        self._of = {projection.name: _documents(projection, history) for projection in PROJECTIONS}

    def all(self) -> dict[tuple[str, Target], Document]:
        """Every document, by its read model's name and where it is kept there."""
        return {
            (name, target): document for name, documents in self._of.items() for target, document in documents.items()
        }

    def figures(self) -> Figures:
        return Figures(
            kpis=self._kpis(),
            leads=Counter((lead.source, lead.stage) for lead in self._each(LeadRow)),
            pipeline=self._pipeline(),
            desk=self._desk(),
            campaigns=self._campaigns(),
        )

    async def view(self, contact: UUID) -> CustomerView:
        """The single customer view with no personal block open: what is left of it once all are erased."""
        found = await customer_records(FoldedRecords(self._of[Customers.name]), str(contact), timeline_limit=100)
        timeline = timeline_items(found.timeline, found.replies, NOTHING_OPENS)
        return compose(found, NOTHING_OPENS, {"items": timeline, "next": None}, {})

    def _each(self, kind: type[D]) -> Iterable[D]:
        return (document for document in self.all().values() if isinstance(document, kind))

    def _kpis(self) -> kpis.Figures:
        return kpis.figures(
            leads=self._each(LeadTotals),
            tickets=self._each(TicketTotals),
            revenue=self._each(RevenueTotals),
            interactions=self._each(InteractionTotals),
            contacts=self._each(ContactTotals),
            engagements=self._each(EngagementTotals),
        )

    def _pipeline(self) -> Counts:
        """Deals, and what they are worth, by how far they came."""
        counts = Counts()
        for deal in self._each(OpportunityRow):
            counts["deals", deal.status, deal.stage, deal.reason] += 1
            counts["worth", deal.status, deal.stage, deal.currency] += deal.amount
        return counts

    def _desk(self) -> Counts:
        """Tickets by how they stand, replies by who wrote them, and how often an answer did not hold."""
        counts = Counts()
        for ticket in self._each(TicketRow):
            counts["tickets", ticket.status, ticket.channel, ticket.priority, ticket.agent] += 1
            counts["first replies", ticket.first_reply_at] += 1
            counts["resolved", ticket.resolved_at] += 1
            counts["replies", ticket.channel] += ticket.replies
            counts["reopens", ticket.channel] += ticket.reopens
        counts.update(("written", reply.author) for reply in self._each(TicketReplyRow))
        return counts

    def _campaigns(self) -> Counts:
        counts = Counts((campaign.id, campaign.stage) for campaign in self._each(CampaignRow))
        for each in self._each(CampaignCounts):
            counts[each.campaign_id, "enrolled"] += each.enrolled
            counts[each.campaign_id, "engaged"] += each.engaged
        return counts


def _documents(projection: Projection, history: History) -> Documents:
    documents: Documents = {}
    for event in history:
        for fold in projection.folds.get(type(event.data), ()):
            target = Target(fold.document, fold.key(event, place_of(event)))
            documents[target] = projection.apply(fold, documents.get(target), event)
    return documents
