"""The key figures, summed from the totals of every partition. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TypeVar

from pydantic import BaseModel, Field

from crm_analytics.projections import (
    ContactTotals,
    EngagementTotals,
    InteractionTotals,
    LeadTotals,
    RevenueTotals,
    TicketTotals,
)

T = TypeVar("T")


class SourceFigures(BaseModel):
    source: str
    captured: int
    converted: int
    conversion_rate: float | None = Field(description="Converted of captured, four decimals; null if none captured.")


class LeadFigures(BaseModel):
    captured: int
    converted: int
    conversion_rate: float | None = Field(description="Converted of captured, four decimals; null if none captured.")
    by_source: list[SourceFigures]


class TicketFigures(BaseModel):
    """`resolved` are resolved now: reopening takes a resolution back, with the time it took."""

    opened: int
    open: int
    resolved: int
    average_resolution_seconds: float | None = Field(description="Of what is resolved now; null if nothing is.")


class RevenueFigures(BaseModel):
    """Won deals of one currency; `won` is a decimal string."""

    currency: str
    opportunities: int
    won: str


class OrderFigures(BaseModel):
    """Orders and returns of one currency, counted apart; `value` nets both, as a decimal string."""

    currency: str
    orders: int
    returns: int
    value: str


class ChannelFigures(BaseModel):
    channel: str
    interactions: int


class Figures(BaseModel):
    """Every key figure; lists are sorted by what they group by."""

    leads: LeadFigures
    tickets: TicketFigures
    revenue: list[RevenueFigures]
    orders: list[OrderFigures]
    contacts: int
    interactions: list[ChannelFigures]
    engagements: int


def figures(
    *,
    leads: Iterable[LeadTotals],
    tickets: Iterable[TicketTotals],
    revenue: Iterable[RevenueTotals],
    interactions: Iterable[InteractionTotals],
    contacts: Iterable[ContactTotals],
    engagements: Iterable[EngagementTotals],
) -> Figures:
    interactions = list(interactions)
    return Figures(
        leads=_lead_figures(leads),
        tickets=_ticket_figures(list(tickets)),
        revenue=_revenue_figures(revenue),
        orders=_order_figures(interactions),
        contacts=sum(total.contacts for total in contacts),
        interactions=_channel_figures(interactions),
        engagements=sum(total.engagements for total in engagements),
    )


def money(minor_units: int) -> str:
    """Hundredths as a decimal string with two places."""
    return str(Decimal(minor_units).scaleb(-2))


def rate(part: int, whole: int) -> float | None:
    """The share to four decimals, half to even; None of nothing."""
    return round(part / whole, 4) if whole else None


def _lead_figures(totals: Iterable[LeadTotals]) -> LeadFigures:
    by_source = [
        _source_figures(source, sum(t.captured for t in group), sum(t.converted for t in group))
        for source, group in _groups(totals, lambda total: total.source)
    ]
    captured, converted = sum(s.captured for s in by_source), sum(s.converted for s in by_source)
    return LeadFigures(
        captured=captured, converted=converted, conversion_rate=rate(converted, captured), by_source=by_source
    )


def _source_figures(source: str, captured: int, converted: int) -> SourceFigures:
    return SourceFigures(
        source=source, captured=captured, converted=converted, conversion_rate=rate(converted, captured)
    )


def _ticket_figures(totals: list[TicketTotals]) -> TicketFigures:
    opened, resolved = sum(t.opened for t in totals), sum(t.resolved for t in totals)
    took_ms = sum(t.resolution_ms for t in totals)
    return TicketFigures(
        opened=opened,
        open=opened - resolved,
        resolved=resolved,
        average_resolution_seconds=took_ms / resolved / 1000 if resolved else None,
    )


def _revenue_figures(totals: Iterable[RevenueTotals]) -> list[RevenueFigures]:
    return [
        RevenueFigures(
            currency=currency,
            opportunities=sum(t.opportunities for t in group),
            won=money(sum(t.won_minor for t in group)),
        )
        for currency, group in _groups(totals, lambda total: total.currency)
    ]


def _order_figures(totals: Iterable[InteractionTotals]) -> list[OrderFigures]:
    with_order = [total for total in totals if total.currency]
    return [
        OrderFigures(
            currency=currency,
            orders=sum(t.orders for t in group),
            returns=sum(t.returns for t in group),
            value=money(sum(t.order_minor for t in group)),
        )
        for currency, group in _groups(with_order, lambda total: total.currency or "")
    ]


def _channel_figures(totals: Iterable[InteractionTotals]) -> list[ChannelFigures]:
    return [
        ChannelFigures(channel=channel, interactions=sum(t.interactions for t in group))
        for channel, group in _groups(totals, lambda total: total.channel)
    ]


def _groups(totals: Iterable[T], name: Callable[[T], str]) -> list[tuple[str, list[T]]]:
    groups: defaultdict[str, list[T]] = defaultdict(list)
    for total in totals:
        groups[name(total)].append(total)
    return sorted(groups.items())
