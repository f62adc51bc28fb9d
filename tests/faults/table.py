"""The table with which the suite closes: each row, what was done, what was checked, and how it ended."""

from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

COLUMNS = ("row", "injected", "checked", "seconds", "result")
FILE = Path("build") / "faults.md"


class Table:
    """Collects the rows as they end; tests say what they are with `@pytest.mark.row(id, injected, checked)`."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rows: dict[str, tuple[str, ...]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        told = item.get_closest_marker("row")
        if told is not None and (report.when == "call" or not report.passed):
            parameter = item.nodeid.partition("[")[2].rstrip("]")
            row, injected, checked = told.args
            self._rows[item.nodeid] = (
                f"{row} {parameter}".strip(),
                injected,
                checked,
                f"{report.duration:.0f}",
                _result(report),
            )
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._rows:
            return
        lines = [_line(COLUMNS), _line(["---"] * len(COLUMNS)), *map(_line, self._rows.values())]
        text = "\n".join([f"Fault suite, seed {self._seed}", "", *lines, ""])
        file = terminalreporter.config.rootpath / FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        terminalreporter.section("faults")
        terminalreporter.write_line(text)


def _result(report: pytest.TestReport) -> str:
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return reason.replace("Skipped: ", "not run: ")
    return "holds" if report.passed else "BROKEN"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
