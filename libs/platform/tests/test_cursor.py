"""Positions decide: whatever repeats, set-backs and gaps a topic shows, each event is applied once and in order."""

from datetime import timedelta
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from crm_platform.cursor import Arrival, Cursor, arrival
from crm_platform.testing import SOME_TIME


class Link(NamedTuple):
    """An event as a relay publishes it: its position, and the one before it in the partition."""

    position: int
    previous: int


@st.composite
def chains(draw: st.DrawFn) -> list[Link]:
    """The published events of a partition; positions have holes."""
    positions = sorted(draw(st.sets(st.integers(1, 500), min_size=1, max_size=30)))
    return [Link(p, q) for p, q in zip(positions, [0, *positions[:-1]], strict=True)]


@st.composite
def topics(draw: st.DrawFn) -> tuple[list[Link], list[Link]]:
    """A chain, and what the topic shows of it: any runs of it, then a relay that publishes all of it again."""
    chain = draw(chains())
    ends = st.integers(0, len(chain))
    runs = draw(st.lists(st.tuples(ends, ends), max_size=8))
    shown = [link for start, end in runs for link in chain[start:end]]
    lost = draw(st.sets(st.integers(0, len(shown)), max_size=10))
    return chain, [link for index, link in enumerate(shown) if index not in lost] + chain


def _read(cursor: Cursor, link: Link) -> Cursor:
    match arrival(cursor, *link):
        case Arrival.NEXT:
            return cursor.applied(link.position, SOME_TIME)
        case Arrival.GAP:
            return cursor.passed_over()
        case Arrival.REPEAT:
            return cursor


@given(topics())
def test_each_position_is_applied_once_and_in_order(topic: tuple[list[Link], list[Link]]) -> None:
    chain, shown = topic
    cursor, applied = Cursor(), []
    for link in shown:
        if arrival(cursor, *link) is Arrival.NEXT:
            applied.append(link)
        cursor = _read(cursor, link)
    assert applied == chain
    assert cursor.gap is None


@given(topics())
def test_the_position_never_goes_back(topic: tuple[list[Link], list[Link]]) -> None:
    cursor = Cursor()
    for link in topic[1]:
        following = _read(cursor, link)
        assert following.position >= cursor.position
        cursor = following


@given(chains(), st.data())
def test_nothing_behind_a_missing_event_is_applied(chain: list[Link], data: st.DataObject) -> None:
    missing = data.draw(st.integers(0, len(chain) - 1))
    cursor = Cursor()
    for link in chain[:missing] + chain[missing + 1 :]:
        cursor = _read(cursor, link)
    assert cursor.position == (chain[missing - 1].position if missing else 0)
    assert cursor.gap == (cursor.position if missing < len(chain) - 1 else None)


def test_results_are_as_fresh_as_the_newest_event_applied() -> None:
    late = Cursor().applied(1, SOME_TIME).applied(2, SOME_TIME - timedelta(hours=1))
    assert late.recorded_at == SOME_TIME


def test_events_passed_over_are_counted_by_type() -> None:
    cursor = Cursor().with_skipped("a").with_skipped("b").with_skipped("a")
    assert cursor.skipped == {"a": 2, "b": 1}
