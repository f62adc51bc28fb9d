"""Live windows: which minute an event counts in, and what is shown."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from uuid import uuid4

import pytest

from crm_analytics.live import (
    SHOWN_WINDOWS,
    WINDOW,
    Line,
    Metric,
    WindowCount,
    line_of,
    series,
    shown_windows,
    window_start,
)
from crm_events.event import Sealed
from crm_events.sales import LeadCaptured, LeadQualified

NOW = datetime(2026, 3, 2, 9, 30, 12, tzinfo=UTC)
OPEN = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
WEB = Line(Metric.LEADS_CAPTURED, "web")
TICKETS = Line(Metric.TICKETS_OPENED)


def test_a_window_is_a_minute_of_the_clock() -> None:
    assert window_start(NOW) == OPEN
    assert window_start(OPEN) == OPEN
    assert window_start(OPEN - timedelta(microseconds=1)) == OPEN - WINDOW


def test_a_window_starts_at_the_same_instant_in_any_zone() -> None:
    assert window_start(NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))) == OPEN


def test_fifteen_windows_are_shown_and_the_last_is_open() -> None:
    shown = shown_windows(NOW)
    assert len(shown) == SHOWN_WINDOWS == 15
    assert shown[-1] == OPEN
    assert {later - earlier for earlier, later in pairwise(shown)} == {WINDOW}
    (tickets,) = [each for each in series([], NOW) if each.line == TICKETS]
    assert [point.is_open for point in tickets.points] == [False] * 14 + [True]


def test_a_series_sums_partitions_and_fills_quiet_minutes_with_zero() -> None:
    counts = [
        WindowCount(WEB, 0, OPEN, 2),
        WindowCount(WEB, 5, OPEN, 3),
        WindowCount(WEB, 0, OPEN - WINDOW, 7),
        WindowCount(TICKETS, 0, OPEN, 1),
    ]
    shown = {each.line: [point.value for point in each.points] for each in series(counts, NOW)}
    assert shown[WEB] == [0] * 13 + [7, 5]
    assert shown[TICKETS] == [0] * 14 + [1]


def test_a_window_too_old_to_be_shown_is_left_out() -> None:
    (web,) = [each for each in series([WindowCount(WEB, 0, OPEN - 15 * WINDOW, 9)], NOW) if each.line == WEB]
    assert [point.value for point in web.points] == [0] * 15


def test_every_metric_without_sources_has_a_series_even_when_nothing_happens() -> None:
    assert {each.line.metric for each in series([], NOW)} == set(Metric) - {Metric.LEADS_CAPTURED}


def test_leads_count_by_their_source() -> None:
    sealed = Sealed(event=uuid4(), subject=uuid4(), key=uuid4(), box="")
    assert line_of(LeadCaptured(source="web", inquiry=sealed, occurred_at=NOW)) == WEB


def test_an_event_that_is_not_counted_has_no_line() -> None:
    with pytest.raises(KeyError):
        line_of(LeadQualified(score=1, occurred_at=NOW))
