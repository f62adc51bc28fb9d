"""A consumer is stalled when something waits for a minute and nothing is read."""

from crm_analytics.progress import STALLED_SECONDS, Progress

HERE, THERE = ("crm.sales", 0), ("crm.sales", 1)
LATE = STALLED_SECONDS + 1


def test_nothing_to_read_is_no_stall() -> None:
    progress = Progress()
    progress.observe({HERE: 7}, now=0)
    progress.observe({HERE: 7}, now=LATE)
    assert not progress.is_stalled(LATE)


def test_something_unread_for_over_a_minute_is_a_stall() -> None:
    progress = Progress()
    progress.observe({HERE: 7}, now=0)
    progress.observe({HERE: 8}, now=1)
    assert not progress.is_stalled(STALLED_SECONDS)
    progress.observe({HERE: 9}, now=STALLED_SECONDS)
    assert progress.is_stalled(1 + LATE)


def test_reading_slowly_is_no_stall() -> None:
    progress = Progress()
    progress.observe({HERE: 7}, now=0)
    progress.observe({HERE: 9}, now=1)
    progress.took(HERE, offset=7, now=STALLED_SECONDS)
    progress.observe({HERE: 9}, now=LATE)
    assert not progress.is_stalled(1 + LATE)


def test_reading_one_partition_does_not_hide_that_another_stands() -> None:
    progress = Progress()
    progress.observe({HERE: 7, THERE: 7}, now=0)
    progress.observe({HERE: 8, THERE: 8}, now=1)
    progress.took(HERE, offset=7, now=LATE)
    progress.observe({HERE: 8, THERE: 8}, now=LATE)
    assert progress.is_stalled(1 + LATE)


def test_a_partition_that_went_to_another_worker_is_its_concern() -> None:
    progress = Progress()
    progress.observe({HERE: 7}, now=0)
    progress.observe({HERE: 8}, now=1)
    progress.observe({}, now=2)
    assert not progress.is_stalled(2 + LATE)
    progress.observe({HERE: 20}, now=3)
    assert not progress.is_stalled(3 + LATE)
