"""The table of results: what was measured now, beside what was measured last of the rest."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison import Spread

FOLDER = Path(__file__).parent
TABLE = FOLDER / "RESULTS.md"
MEDIANS = FOLDER / "results.json"

_HEAD = (
    "| row | measure | median | spread | target | met | CPU ms an event, platform | baseline | measured |",
    "|---|---|---|---|---|---|---|---|---|",
)
_ROW = re.compile(r"\| (?P<id>R\d\w*) \|")


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must be: at least, or at most, so much."""

    bound: float
    at_most: bool = False
    unit: str = ""

    def met_by(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {_number(self.bound)}{self.unit}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `id` is its name in results.json; without a target it is reported only."""

    id: str
    measure: str
    spread: Spread
    target: Target | None
    platform_cpu_ms: float | None = None
    baseline_cpu_ms: float | None = None

    @property
    def met(self) -> bool:
        return self.target is None or self.target.met_by(self.spread.median)

    def line(self, date: str) -> str:
        unit = self.target.unit if self.target else ""
        met = "-" if self.target is None else "yes" if self.met else "**no**"
        cells = (
            self.id,
            self.measure,
            f"{_number(self.spread.median)}{unit}",
            f"{_number(self.spread.least)} .. {_number(self.spread.most)}",
            self.target or "-",
            met,
            _milliseconds(self.platform_cpu_ms),
            _milliseconds(self.baseline_cpu_ms),
            date,
        )
        return f"| {' | '.join(map(str, cells))} |"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def merged_lines(text: str, figures: Iterable[Figure], date: str) -> list[str]:
    """The table's lines in order of their rows: new ones where measured, the last known ones elsewhere."""
    kept = {match["id"]: line for line in text.splitlines() if (match := _ROW.match(line))}
    kept |= {figure.id: figure.line(date) for figure in figures}
    return [kept[name] for name in sorted(kept)]


def merged_medians(text: str, figures: Iterable[Figure]) -> dict[str, float]:
    """The medians by figure: new ones where measured, the last known ones elsewhere."""
    known: dict[str, float] = json.loads(text) if text else {}
    known |= {figure.id: round(figure.spread.median, 3) for figure in figures}
    return dict(sorted(known.items()))


def missed(lines: Iterable[str]) -> list[str]:
    """The rows whose target is not met."""
    return [match["id"] for line in lines if "| **no** |" in line and (match := _ROW.match(line))]


def write(figures: Iterable[Figure], machine: Mapping[str, str]) -> list[str]:
    """Bring both files up to date; returns the table."""
    figures = list(figures)
    lines = merged_lines(_read(TABLE), figures, machine["Date"][:10])
    MEDIANS.write_text(json.dumps(merged_medians(_read(MEDIANS), figures), indent=2) + "\n")
    described = [f"- {name}: {value}" for name, value in machine.items()]
    TABLE.write_text("\n".join([_INTRODUCTION, *described, "", *_HEAD, *lines, ""]))
    return [*_HEAD, *lines]


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


_INTRODUCTION = """# How fast it is

Made by `make bench`; see `benchmarks/`. A ratio is the platform's rate divided by that of the bare libraries on the
same work, measured in turns in one run: on a shared machine absolute rates mean little. The spread is the least and the
greatest of at least five such pairs. CPU is that of all processes involved, without the clients.
"""
