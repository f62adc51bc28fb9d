"""Two ways to do the same work, measured in turns: their ratio, its spread, and what each costs in CPU time."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from benchmarks.progress import say

RUNS = 5
"""Runs of each side; they take turns, so that what else happens on the machine meets both."""


class Run(NamedTuple):
    """One measured run: so many events in so many seconds of clock, and of CPU over all processes involved."""

    events: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds an event."""
        return 1000 * self.cpu_seconds / self.events


Measure = Callable[[], Awaitable[Run]]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several measurements, with the least and the greatest."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))


def rates(runs: Sequence[Run]) -> Spread:
    return Spread.of([run.rate for run in runs])


def cpu_ms(runs: Sequence[Run]) -> float:
    return median(run.cpu_ms for run in runs)


def ratio(platform: Sequence[Run], baseline: Sequence[Run]) -> Spread:
    """How the platform's rate compares with the baseline's: each of its runs with the one measured next to it."""
    return Spread.of([ours.rate / theirs.rate for ours, theirs in zip(platform, baseline, strict=True)])


async def interleaved(sides: dict[str, Measure], runs: int = RUNS) -> dict[str, list[Run]]:
    """Every side once, then every side again: A B A B ..."""
    measured: dict[str, list[Run]] = {name: [] for name in sides}
    for number in range(1, runs + 1):
        for name, measure in sides.items():
            run = await measure()
            measured[name].append(run)
            say(f"  {number}/{runs} {name}: {run.rate:,.0f}/s, {run.cpu_ms:.3f} ms CPU each")
    return measured
