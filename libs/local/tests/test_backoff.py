from crm_local.backoff import Backoff


def test_waits_double_up_to_the_longest_and_are_spread() -> None:
    backoff = Backoff(first=1.0, longest=8.0)
    for bound in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert bound / 2 <= backoff.next_wait(ran_for=0.0) <= bound


def test_a_part_that_ran_well_is_started_again_at_once() -> None:
    backoff = Backoff(first=1.0, longest=64.0, well_after=60.0)
    for _ in range(6):
        backoff.next_wait(ran_for=0.0)
    assert backoff.next_wait(ran_for=61.0) <= 1.0
