"""A window counts until it ends; what ended is forgotten."""

import time

from hypothesis import given
from hypothesis import strategies as st

from crm_gateway.rate_windows import RateWindows


@given(st.lists(st.sampled_from("abc"), min_size=1))
def test_each_key_is_counted_for_itself_until_its_window_ends(hits: list[str]) -> None:
    windows, began = RateWindows(), time.time()

    counted = {key: windows.incr(key, 60) for key in hits}

    assert counted == {key: hits.count(key) for key in hits} == {key: windows.get(key) for key in counted}
    assert all(began + 60 <= windows.get_expiry(key) <= time.time() + 60 for key in hits)


def test_a_window_that_ended_begins_anew() -> None:
    windows = RateWindows()

    assert [windows.incr("a", 0) for _ in range(3)] == [1, 1, 1]
    assert windows.get("a") == 0
    assert windows.get_expiry("a") <= time.time()


def test_a_window_that_ended_is_dropped_when_another_begins() -> None:
    windows = RateWindows()
    for name in "abc":
        windows.incr(name, 0)

    windows.incr("d", 60)

    assert windows.reset() == 1


def test_who_is_cleared_has_the_whole_quota_again() -> None:
    windows = RateWindows()
    windows.incr("a", 60)
    windows.incr("b", 60)

    windows.clear("a")

    assert (windows.get("a"), windows.get("b"), windows.check()) == (0, 1, True)
