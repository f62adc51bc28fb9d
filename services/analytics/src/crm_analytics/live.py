"""Live windows: what happened in the last minutes. The speed layer: it moves at once, the exact totals are the KPIs'.

A window is one minute of the clock. An event counts in the minute of its Kafka timestamp, that is when it was
published, not when it was true (`occurred_at`): a dashboard shows what is moving now.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from crm_events.event import Event
from crm_events.marketing import EngagementRecorded
from crm_events.sales import LeadCaptured, OpportunityWon
from crm_events.service import TicketOpened, TicketResolved

WINDOW = timedelta(minutes=1)
SHOWN_WINDOWS = 15


class Metric(StrEnum):
    LEADS_CAPTURED = "leads_captured"
    OPPORTUNITIES_WON = "opportunities_won"
    TICKETS_OPENED = "tickets_opened"
    TICKETS_RESOLVED = "tickets_resolved"
    ENGAGEMENTS = "engagements"


COUNTED: dict[type[Event], Metric] = {
    LeadCaptured: Metric.LEADS_CAPTURED,
    OpportunityWon: Metric.OPPORTUNITIES_WON,
    TicketOpened: Metric.TICKETS_OPENED,
    TicketResolved: Metric.TICKETS_RESOLVED,
    EngagementRecorded: Metric.ENGAGEMENTS,
}
COUNTED_TYPES = frozenset(name.encode() for event in COUNTED for name in (*event.older_type_names(), event.type_name()))


@dataclass(frozen=True, slots=True)
class Line:
    """What is counted together: a metric, for leads by their source."""

    metric: Metric
    source: str | None = None


@dataclass(frozen=True, slots=True)
class WindowCount:
    """How many events of a line one partition had in the window that starts at `start`."""

    line: Line
    partition: int
    start: datetime
    count: int


@dataclass(frozen=True, slots=True)
class Point:
    """A window of a series; an open one still grows."""

    start: datetime
    value: int
    is_open: bool


@dataclass(frozen=True, slots=True)
class Series:
    line: Line
    points: tuple[Point, ...]


def line_of(event: Event) -> Line:
    """The line that an event counts in; raises KeyError for a type that is not counted."""
    source = event.source if isinstance(event, LeadCaptured) else None
    return Line(COUNTED[type(event)], source)


def window_start(moment: datetime) -> datetime:
    """The start of the minute that the moment is in."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def shown_windows(now: datetime) -> list[datetime]:
    """The starts of the windows that are shown, oldest first; the last one is open."""
    newest = window_start(now)
    return [newest - WINDOW * age for age in reversed(range(SHOWN_WINDOWS))]


def series(counts: Iterable[WindowCount], now: datetime) -> list[Series]:
    """The shown windows of every line, summed over partitions; a window without events is 0."""
    sums: Counter[tuple[Line, datetime]] = Counter()
    lines = {Line(metric) for metric in Metric if metric is not Metric.LEADS_CAPTURED}
    for count in counts:
        lines.add(count.line)
        sums[count.line, count.start] += count.count
    starts = shown_windows(now)
    return [
        Series(line, tuple(Point(start, sums[line, start], is_open=now < start + WINDOW) for start in starts))
        for line in sorted(lines, key=lambda line: (line.metric, line.source or ""))
    ]
