"""The arithmetic of ratios, and that a partial run keeps what was measured before."""

import pytest
from benchmarks.comparison import Run, Spread, cpu_ms, interleaved, ratio
from benchmarks.results import Figure, Target, merged_lines, merged_medians, missed


def test_a_ratio_compares_each_run_with_the_one_measured_next_to_it() -> None:
    ours = [Run(100, 1.0, 0.5), Run(50, 1.0, 0.5), Run(300, 1.0, 0.5)]
    theirs = [Run(50, 1.0, 0.1), Run(50, 1.0, 0.1), Run(100, 1.0, 0.1)]
    assert ratio(ours, theirs) == Spread(2.0, 1.0, 3.0)


def test_cpu_is_told_in_milliseconds_an_event() -> None:
    assert cpu_ms([Run(1_000, 3.0, 2.0), Run(1_000, 3.0, 1.0), Run(1_000, 3.0, 9.0)]) == 2.0


async def test_the_sides_take_turns() -> None:
    order: list[str] = []

    async def side(name: str) -> Run:
        order.append(name)
        return Run(1, 1.0, 0.0)

    runs = await interleaved({"a": lambda: side("a"), "b": lambda: side("b")}, runs=2)
    assert order == ["a", "b", "a", "b"]
    assert [len(each) for each in runs.values()] == [2, 2]


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [
        (Target(0.7), 0.7, True),
        (Target(0.7), 0.69, False),
        (Target(40, at_most=True), 40.0, True),
        (Target(40, at_most=True), 41.0, False),
    ],
)
def test_a_target_is_a_floor_or_a_ceiling(target: Target, value: float, met: bool) -> None:
    assert target.met_by(value) is met


def figure(id_: str, median: float, target: Target | None = None) -> Figure:
    return Figure(id_, f"what {id_} measures", Spread(median, median - 1, median + 1), target)


def test_rows_that_were_not_measured_keep_their_last_line() -> None:
    before = merged_lines("", [figure("R2", 0.5, Target(0.7)), figure("R1a", 0.6)], "2026-01-01")
    after = merged_lines("\n".join(["# Title", *before]), [figure("R1a", 0.8)], "2026-02-02")
    assert [line.split("|")[1].strip() for line in after] == ["R1a", "R2"]
    assert "2026-02-02" in after[0]
    assert after[1] == before[1]


def test_medians_that_were_not_measured_are_kept() -> None:
    assert merged_medians('{"R2": 0.5, "R1a": 0.6}', [figure("R1a", 0.81234)]) == {"R1a": 0.812, "R2": 0.5}
    assert merged_medians("", [figure("R4", 2100.0)]) == {"R4": 2100.0}


def test_missed_targets_are_named() -> None:
    lines = merged_lines("", [figure("R2", 0.5, Target(0.7)), figure("R4", 9.0, Target(2)), figure("R5", 1.0)], "now")
    assert missed(lines) == ["R2"]
