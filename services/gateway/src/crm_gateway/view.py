"""From a customer's records to the single customer view. Pure: the order in which records came does not matter."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from crm_gateway.answers import (
    CampaignAnswer,
    CustomerView,
    EngagementAnswer,
    LeadAnswer,
    MoneyAnswer,
    Opened,
    OpportunityAnswer,
    SectionFreshness,
    TicketAnswer,
    Timeline,
    TimelineItem,
    TotalsAnswer,
)
from crm_gateway.projections.campaigns import CampaignRecord, EngagementRecord, EnrolmentRecord
from crm_gateway.projections.leads import LeadRecord
from crm_gateway.projections.money import Price, decimal_string
from crm_gateway.projections.opportunities import OpportunityRecord
from crm_gateway.projections.profile import CustomerProfile
from crm_gateway.projections.tickets import TicketRecord, TicketReply
from crm_gateway.projections.timeline import TimelineEntry
from crm_gateway.projections.totals import CustomerTotals
from crm_platform.sealing import SealedBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRecords:
    """The records of one customer, each kind in any order; `complete` says that none was left out."""

    contact_id: str
    profile: CustomerProfile | None = None
    timeline: Sequence[TimelineEntry] = ()
    replies: Sequence[TicketReply] = ()
    totals: Sequence[CustomerTotals] = ()
    leads: Sequence[LeadRecord] = ()
    opportunities: Sequence[OpportunityRecord] = ()
    tickets: Sequence[TicketRecord] = ()
    campaigns: Sequence[CampaignRecord] = ()
    enrolments: Sequence[EnrolmentRecord] = ()
    engagements: Sequence[EngagementRecord] = ()
    complete: bool = True

    def blocks(self) -> Iterator[SealedBlock]:
        """Every sealed block of the view."""
        yield from filter(
            None,
            chain(
                (self.profile.profile,) if self.profile else (),
                (entry.content for entry in self.timeline),
                (reply.reply for reply in self.replies),
                (block for lead in self.leads for block in (lead.inquiry, lead.note)),
                (block for deal in self.opportunities for block in (deal.details, deal.note)),
                (block for ticket in self.tickets for block in (ticket.request, ticket.note)),
            ),
        )


class OpenedBlocks:
    """The blocks of a view in the clear, found by the event that each was sealed for; an erased one is None."""

    def __init__(self, by_event: Mapping[str, Opened | None]) -> None:
        self._by_event = by_event

    def of(self, block: SealedBlock | None) -> Opened | None:
        return None if block is None else self._by_event.get(block.event)

    def text(self, block: SealedBlock | None, member: str) -> str | None:
        """One member of a block that holds free words."""
        opened = self.of(block)
        return None if opened is None else opened[member]


def compose(
    records: CustomerRecords, opened: OpenedBlocks, timeline: Timeline, freshness: dict[str, SectionFreshness]
) -> CustomerView:
    """The view; `timeline` is its first page, made by `timeline_items`."""
    known = records.profile
    profile = opened.of(known.profile) if known else None
    return {
        "contact_id": records.contact_id,
        "erased": known is not None and profile is None,
        "source": known.source if known else None,
        "registered_at": known.registered_at if known else None,
        "updated_at": known.updated_at if known else None,
        "profile": profile,
        "identifiers": profile.get("identifiers", []) if profile else [],
        "timeline": timeline,
        "leads": _leads(records.leads, opened),
        "opportunities": _opportunities(records.opportunities, opened),
        "tickets": _tickets(records.tickets, opened),
        "campaigns": _campaigns(records.campaigns, records.enrolments, records.engagements),
        "totals": _totals(records.totals),
        "complete": records.complete,
        "freshness": freshness,
    }


def timeline_items(
    entries: Iterable[TimelineEntry], replies: Iterable[TicketReply], opened: OpenedBlocks
) -> list[TimelineItem]:
    """Interactions and replies to tickets as one timeline, newest first, ties by id."""
    items = [_interaction(entry, opened) for entry in entries] + [_reply(reply, opened) for reply in replies]
    items.sort(key=lambda item: (item["occurred_at"], item["id"]), reverse=True)
    return items


def _interaction(entry: TimelineEntry, opened: OpenedBlocks) -> TimelineItem:
    return {
        "id": entry.id,
        "kind": "interaction",
        "occurred_at": entry.occurred_at,
        "recorded_at": entry.recorded_at,
        "channel": entry.channel,
        "direction": entry.direction,
        "source": entry.source,
        "order": _money(entry.order) if entry.order else None,
        "campaign_id": entry.campaign_id,
        "ticket_id": None,
        "content": opened.of(entry.content),
    }


def _reply(reply: TicketReply, opened: OpenedBlocks) -> TimelineItem:
    return {
        "id": reply.id,
        "kind": "ticket_reply",
        "occurred_at": reply.occurred_at,
        "recorded_at": reply.recorded_at,
        "channel": None,
        "direction": "inbound" if reply.author == "customer" else "outbound",
        "source": None,
        "order": None,
        "campaign_id": None,
        "ticket_id": reply.ticket_id,
        "content": opened.of(reply.reply),
    }


def _leads(leads: Iterable[LeadRecord], opened: OpenedBlocks) -> list[LeadAnswer]:
    return [
        {
            "id": lead.id,
            "version": lead.version,
            "source": lead.source,
            "stage": lead.stage,
            "score": lead.score,
            "reason": lead.reason,
            "opportunity_id": lead.opportunity_id,
            "captured_at": lead.captured_at,
            "changed_at": lead.changed_at,
            "inquiry": opened.of(lead.inquiry),
            "note": opened.text(lead.note, "text"),
        }
        for lead in sorted(leads, key=lambda lead: (lead.captured_at, lead.id), reverse=True)
    ]


def _opportunities(deals: Iterable[OpportunityRecord], opened: OpenedBlocks) -> list[OpportunityAnswer]:
    return [
        {
            "id": deal.id,
            "version": deal.version,
            "lead_id": deal.lead_id,
            "title": opened.text(deal.details, "title"),
            "status": deal.status,
            "stage": deal.stage,
            "value": _money(deal.value),
            "expected_close": deal.expected_close,
            "opened_at": deal.opened_at,
            "changed_at": deal.changed_at,
            "closed_at": deal.closed_at,
            "loss_reason": deal.loss_reason,
            "note": opened.text(deal.note, "text"),
        }
        for deal in sorted(deals, key=lambda deal: (deal.opened_at, deal.id), reverse=True)
    ]


def _tickets(tickets: Iterable[TicketRecord], opened: OpenedBlocks) -> list[TicketAnswer]:
    return [
        {
            "id": ticket.id,
            "version": ticket.version,
            "channel": ticket.channel,
            "priority": ticket.priority,
            "status": ticket.status,
            "agent": ticket.agent,
            "replies": ticket.replies,
            "opened_at": ticket.opened_at,
            "changed_at": ticket.changed_at,
            "resolved_at": ticket.resolved_at,
            "request": opened.of(ticket.request),
            "note": opened.text(ticket.note, "text"),
        }
        for ticket in sorted(tickets, key=lambda ticket: (ticket.opened_at, ticket.id), reverse=True)
    ]


def _campaigns(
    campaigns: Iterable[CampaignRecord],
    enrolments: Iterable[EnrolmentRecord],
    engagements: Iterable[EngagementRecord],
) -> list[CampaignAnswer]:
    """Every campaign that the customer is in or answered; one that has not arrived itself shows without its name."""
    known = {campaign.id: campaign for campaign in campaigns}
    enrolled_at = {enrolment.campaign_id: enrolment.enrolled_at for enrolment in enrolments}
    answers = defaultdict[str, list[EngagementRecord]](list)
    for engagement in engagements:
        answers[engagement.campaign_id].append(engagement)
    return [
        {
            "id": campaign_id,
            "name": known[campaign_id].name if campaign_id in known else None,
            "channel": known[campaign_id].channel if campaign_id in known else None,
            "enrolled_at": enrolled_at.get(campaign_id),
            "engagements": _engagements(answers[campaign_id]),
        }
        for campaign_id in sorted(enrolled_at.keys() | answers.keys())
    ]


def _engagements(engagements: Iterable[EngagementRecord]) -> list[EngagementAnswer]:
    return [
        {"interaction_id": answer.interaction_id, "channel": answer.channel, "occurred_at": answer.occurred_at}
        for answer in sorted(engagements, key=lambda answer: (answer.occurred_at, answer.id), reverse=True)
    ]


def _totals(parts: Sequence[CustomerTotals]) -> TotalsAnswer:
    revenue = defaultdict[str, int](int)
    for part in parts:
        for currency, minor in part.revenue.items():
            revenue[currency] += minor
    return {
        "orders": sum(part.orders for part in parts),
        "revenue": {currency: decimal_string(minor) for currency, minor in sorted(revenue.items())},
        "interactions": sum(part.interactions for part in parts),
        "last_contact_at": max((part.last_contact_at for part in parts), default=None),
    }


def _money(price: Price) -> MoneyAnswer:
    return {"amount": decimal_string(price.minor), "currency": price.currency}
