"""How far behind a consumer is, and when it counts as stuck."""

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from crm_platform.cursor import Cursor
from crm_platform.lag import STUCK_SECONDS, Lag, Watchdog
from crm_platform.look_back import FIRST_RECORDS, MOST_RECORDS, LookBack

ONE, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)


def test_at_the_end_of_all_partitions_there_is_no_lag() -> None:
    lag = Lag()
    lag.seen({ONE: 0, OTHER: 0}, now=100.0)
    assert (lag.total, lag.seconds(500.0)) == (0, 0.0)


def test_what_is_unread_can_have_waited_since_the_partition_was_last_read_to_its_end() -> None:
    lag = Lag()
    lag.seen({ONE: 0, OTHER: 0}, now=100.0)
    lag.seen({ONE: 3, OTHER: 0}, now=102.0)
    assert (lag.total, lag.seconds(107.0)) == (3, 7.0)


def test_what_is_unread_is_newer_than_what_was_applied() -> None:
    lag = Lag()
    lag.seen({ONE: 0}, now=100.0)
    lag.applied(ONE, published_at=105.0)
    lag.seen({ONE: 3}, now=106.0)
    assert lag.seconds(107.0) == 2.0


def test_the_partition_that_is_furthest_behind_counts() -> None:
    lag = Lag()
    lag.seen({ONE: 0, OTHER: 0}, now=100.0)
    lag.applied(ONE, published_at=109.0)
    lag.seen({ONE: 1, OTHER: 1}, now=110.0)
    assert lag.seconds(110.0) == 10.0


def test_partitions_that_went_elsewhere_are_not_behind() -> None:
    lag = Lag()
    lag.seen({ONE: 5}, now=100.0)
    lag.assigned({OTHER})
    assert (lag.total, lag.seconds(200.0)) == (0, 0.0)


def test_a_consumer_that_stands_while_there_is_lag_and_all_answers_is_stuck() -> None:
    watchdog = Watchdog(now=0.0)
    assert not watchdog.is_stuck(STUCK_SECONDS, lag=1, answering=True)
    assert watchdog.is_stuck(STUCK_SECONDS + 0.1, lag=1, answering=True)


def test_progress_makes_it_go_again() -> None:
    watchdog = Watchdog(now=0.0)
    assert watchdog.is_stuck(STUCK_SECONDS * 2, lag=1, answering=True)
    watchdog.progressed(STUCK_SECONDS * 2)
    assert not watchdog.is_stuck(STUCK_SECONDS * 3, lag=1, answering=True)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 1), st.booleans()), min_size=1))
def test_only_time_with_lag_and_with_everything_answering_counts(steps: list[tuple[float, int, bool]]) -> None:
    watchdog, now, standing = Watchdog(now=0.0), 0.0, 0.0
    for seconds, lag, answering in steps:
        now += seconds
        standing = standing + seconds if lag and answering else 0.0
        assert watchdog.is_stuck(now, lag=lag, answering=answering) == (now - (now - standing) > STUCK_SECONDS)


def test_where_a_gap_opens_the_records_before_it_are_read_again_ever_further_back() -> None:
    look_back = LookBack()
    gap = Cursor(next_offset=5_000, position=7, gap=7)
    assert look_back.start(gap, 0) == 5_000 - FIRST_RECORDS
    assert look_back.start(Cursor(4_950, 7, gap=7), 0) is None, "it is still reading again"
    assert look_back.start(gap, 0) == 5_000 - 10 * FIRST_RECORDS
    assert look_back.start(gap, 0) == 0
    assert look_back.start(gap, 0) is None, "all was read again: only a relay can close the gap"


def test_a_closed_gap_ends_the_search_and_the_next_one_begins_anew() -> None:
    look_back = LookBack()
    assert look_back.start(Cursor(500, 7, gap=7), 0) == 400
    assert look_back.start(Cursor(450, 8), 0) is None
    assert look_back.start(Cursor(900, 9, gap=9), 0) == 800


def test_the_search_is_bounded() -> None:
    look_back, far = LookBack(), Cursor(10 * MOST_RECORDS, 7, gap=7)
    starts = [start for _ in range(10) if (start := look_back.start(far, 0)) is not None]
    assert starts[-1] == 9 * MOST_RECORDS
    assert len(starts) == 4


def test_the_search_ends_where_the_partition_begins() -> None:
    assert LookBack().start(Cursor(520, 7, gap=7), 500) == 500
    assert LookBack().start(Cursor(500, 7, gap=7), 500) is None
