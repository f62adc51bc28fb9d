"""The exact key figures. Every total is kept per partition and summed by the query (`crm_analytics.kpis`).

A fold only adds integers, so totals do not depend on how the events of different partitions interleave. No total is
grouped by anything personal.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

import msgspec

from crm_events.contacts import ContactRegistered, InteractionLogged
from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_events.marketing import EngagementRecorded
from crm_events.parties import OrderValue
from crm_events.sales import LeadCaptured, LeadConverted, OpportunityWon
from crm_events.service import TicketOpened, TicketReopened, TicketResolved
from crm_events.topics import CONTACTS, MARKETING, SALES, SERVICE
from crm_platform.projection import Document, Place, Projection, fold

_MILLISECOND = timedelta(milliseconds=1)

T = TypeVar("T", bound=Document)
E = TypeVar("E", bound=Event)


class LeadTotals(Document, frozen=True, kw_only=True):
    collection: ClassVar[str] = "lead_totals"

    source: str
    captured: int = 0
    converted: int = 0


class TicketTotals(Document, frozen=True, kw_only=True):
    """`resolved` counts tickets that are resolved now; `resolution_ms` is how long these took, in milliseconds."""

    collection: ClassVar[str] = "ticket_totals"

    opened: int = 0
    resolved: int = 0
    resolution_ms: int = 0


class RevenueTotals(Document, frozen=True, kw_only=True):
    """Won deals of one currency; `won_minor` is in minor units (hundredths)."""

    collection: ClassVar[str] = "revenue_totals"

    currency: str
    opportunities: int = 0
    won_minor: int = 0


class InteractionTotals(Document, frozen=True, kw_only=True):
    """Interactions of one channel; those with an order of one currency also by what they were, and their net value.

    A negative amount is a return and no order, as in the customer view; `order_minor` is in minor units.
    """

    collection: ClassVar[str] = "interaction_totals"

    channel: str
    currency: str | None = None
    interactions: int = 0
    orders: int = 0
    returns: int = 0
    order_minor: int = 0


class ContactTotals(Document, frozen=True, kw_only=True):
    collection: ClassVar[str] = "contact_totals"

    contacts: int = 0


class EngagementTotals(Document, frozen=True, kw_only=True):
    collection: ClassVar[str] = "engagement_totals"

    engagements: int = 0


def _per_partition(group: Callable[[E], str] = lambda _: "") -> Callable[[Recorded[E], Place], str]:
    """The key of a total: topic and partition first, so that no group's name can be taken for another's."""
    return lambda event, place: f"{place.topic}/{place.partition}/{group(event.data)}"


def _order_currency(interaction: InteractionLogged) -> str | None:
    return interaction.order.currency if interaction.order else None


def _interaction_group(interaction: InteractionLogged) -> str:
    return f"{interaction.channel.value}/{_order_currency(interaction) or ''}"


def _order_amounts(order: OrderValue | None) -> dict[str, int]:
    if order is None:
        return {}
    is_order = order.amount >= 0
    return {"orders": int(is_order), "returns": int(not is_order), "order_minor": order.minor_units}


def _added(total: T, **amounts: int) -> T:
    changed: dict[str, Any] = {name: getattr(total, name) + amount for name, amount in amounts.items()}
    return msgspec.structs.replace(total, **changed)


def milliseconds(start: datetime, end: datetime) -> int:
    """From start to end, exact: instants of events have whole milliseconds."""
    return (end - start) // _MILLISECOND


class Kpis(Projection):
    """Leads, tickets, revenue, orders, contacts, interactions, engagements: exact at the positions it has read."""

    name, version, topics = "analytics.kpis", 1, (CONTACTS, SALES, SERVICE, MARKETING)

    @fold(LeadCaptured, LeadTotals, key=_per_partition(lambda lead: lead.source))
    def lead_captured(self, total: LeadTotals | None, event: Recorded[LeadCaptured]) -> LeadTotals:
        return _added(total or LeadTotals(id="", source=event.data.source), captured=1)

    @fold(LeadConverted, LeadTotals, key=_per_partition(lambda lead: lead.source))
    def lead_converted(self, total: LeadTotals | None, event: Recorded[LeadConverted]) -> LeadTotals:
        return _added(total or LeadTotals(id="", source=event.data.source), converted=1)

    @fold(TicketOpened, TicketTotals, key=_per_partition())
    def ticket_opened(
        self,
        total: TicketTotals | None,
        event: Recorded[TicketOpened],  # noqa: ARG002 - that it happened is all that counts
    ) -> TicketTotals:
        return _added(total or TicketTotals(id=""), opened=1)

    @fold(TicketResolved, TicketTotals, key=_per_partition())
    def ticket_resolved(self, total: TicketTotals | None, event: Recorded[TicketResolved]) -> TicketTotals:
        took = milliseconds(event.data.opened_at, event.data.occurred_at)
        return _added(total or TicketTotals(id=""), resolved=1, resolution_ms=took)

    @fold(TicketReopened, TicketTotals, key=_per_partition())
    def ticket_reopened(self, total: TicketTotals | None, event: Recorded[TicketReopened]) -> TicketTotals:
        took = milliseconds(event.data.opened_at, event.data.resolved_at)
        return _added(total or TicketTotals(id=""), resolved=-1, resolution_ms=-took)

    @fold(OpportunityWon, RevenueTotals, key=_per_partition(lambda won: won.value.currency))
    def opportunity_won(self, total: RevenueTotals | None, event: Recorded[OpportunityWon]) -> RevenueTotals:
        value = event.data.value
        total = total or RevenueTotals(id="", currency=value.currency)
        return _added(total, opportunities=1, won_minor=value.minor_units)

    @fold(InteractionLogged, InteractionTotals, key=_per_partition(_interaction_group))
    def interaction_logged(
        self, total: InteractionTotals | None, event: Recorded[InteractionLogged]
    ) -> InteractionTotals:
        interaction = event.data
        total = total or InteractionTotals(
            id="", channel=interaction.channel.value, currency=_order_currency(interaction)
        )
        return _added(total, interactions=1, **_order_amounts(interaction.order))

    @fold(ContactRegistered, ContactTotals, key=_per_partition())
    def contact_registered(
        self,
        total: ContactTotals | None,
        event: Recorded[ContactRegistered],  # noqa: ARG002 - as above
    ) -> ContactTotals:
        return _added(total or ContactTotals(id=""), contacts=1)

    @fold(EngagementRecorded, EngagementTotals, key=_per_partition())
    def engagement_recorded(
        self,
        total: EngagementTotals | None,
        event: Recorded[EngagementRecorded],  # noqa: ARG002 - as above
    ) -> EngagementTotals:
        return _added(total or EngagementTotals(id=""), engagements=1)
