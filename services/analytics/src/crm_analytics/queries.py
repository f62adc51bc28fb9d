"""The two figures: exact totals from the read model, and what moved in the last minutes from the speed layer."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from crm_analytics import live
from crm_analytics.kpis import Figures, figures
from crm_analytics.live_store import LiveWindows
from crm_analytics.projections import (
    ContactTotals,
    EngagementTotals,
    InteractionTotals,
    LeadTotals,
    RevenueTotals,
    TicketTotals,
)
from crm_platform.read_model import Freshness, ReadModel


class KpiView(Figures):
    """The exact totals, and for each topic how fresh they are."""

    freshness: Mapping[str, Freshness]


class LivePoint(BaseModel):
    """A window of one minute; an open one still grows, and late records may add to one just closed."""

    start: datetime
    value: int
    is_open: bool


class LiveSeries(BaseModel):
    """One metric, for leads of one source; the points are in order of time, oldest first."""

    metric: live.Metric
    source: str | None
    points: list[LivePoint]


class LiveView(BaseModel):
    """The speed layer's figures: quick, by when events were published, and not the record. Exact totals: /kpis."""

    layer: Literal["speed"] = "speed"
    window_seconds: int = int(live.WINDOW.total_seconds())
    newest_write_age_seconds: float | None = Field(
        description="How long ago the stream last wrote, changed or not; null if it never has."
    )
    series: list[LiveSeries]


async def current_kpis(totals: ReadModel) -> KpiView:
    found = figures(
        leads=await totals.find(LeadTotals, {}),
        tickets=await totals.find(TicketTotals, {}),
        revenue=await totals.find(RevenueTotals, {}),
        interactions=await totals.find(InteractionTotals, {}),
        contacts=await totals.find(ContactTotals, {}),
        engagements=await totals.find(EngagementTotals, {}),
    )
    return KpiView(**dict(found), freshness=await totals.freshness())


async def last_minutes(windows: LiveWindows, now: datetime) -> LiveView:
    counts = await windows.since(live.shown_windows(now)[0])
    age = (now - counts.written_at).total_seconds() if counts.written_at else None
    return LiveView(
        newest_write_age_seconds=None if age is None else max(age, 0.0),
        series=[_series(each) for each in live.series(counts.windows, now)],
    )


def _series(series: live.Series) -> LiveSeries:
    return LiveSeries(
        metric=series.line.metric,
        source=series.line.source,
        points=[LivePoint(start=p.start, value=p.value, is_open=p.is_open) for p in series.points],
    )
