"""`make bench`: measures rows R1 to R8, or those that are named (R9 only so), and keeps the table of results."""

import argparse
import asyncio
import os
import runpy
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, NoReturn

from benchmarks import (
    machine,
    r1_commands,
    r2_relay,
    r3_projector,
    r4_interactions,
    r5_latency,
    r6_customer_view,
    r7_rebuild,
    r9_live_rebuild,
)
from benchmarks.progress import say
from benchmarks.results import TABLE, Figure, missed, write
from benchmarks.site import PLATFORM, Site
from crm_local.stack import Stack
from crm_platform.server import run


class Row(NamedTuple):
    """Rows of the table that are measured together, and the parts of the stack that they are measured on."""

    names: tuple[str, ...]
    measure: Callable[[Site], Awaitable[Sequence[Figure]]]
    parts: tuple[str, ...]
    only_if_named: bool = False
    seconds: float = 20 * 60
    """Whoever waits longer waits for what never comes."""


INFRASTRUCTURE = ("infrastructure",)
UNSEALED = Path(__file__).parent / "unsealed"
ROWS = (
    Row(("R1",), r1_commands.measure, INFRASTRUCTURE),
    Row(("R2",), r2_relay.measure, INFRASTRUCTURE),
    Row(("R3",), r3_projector.measure, INFRASTRUCTURE),
    Row(("R7", "R8"), r7_rebuild.measure, INFRASTRUCTURE),
    Row(("R4",), r4_interactions.measure, PLATFORM),
    Row(("R5",), r5_latency.measure, PLATFORM),
    Row(("R6",), r6_customer_view.measure, PLATFORM),
    Row(("R9",), r9_live_rebuild.measure, PLATFORM, only_if_named=True, seconds=40 * 60),
)
NAMES = tuple(sorted(name for row in ROWS for name in row.names))


def _chosen(arguments: Sequence[str]) -> tuple[list[Row], bool]:
    """The rows to measure, and whether without sealing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which of {', '.join(NAMES)}; all if none is named")
    parser.add_argument("--unsealed", action="store_true", help="leave personal data unsealed, to see what that costs")
    asked = parser.parse_args(arguments)
    wanted = asked.rows or [name for row in ROWS if not row.only_if_named for name in row.names]
    unknown = set(wanted) - set(NAMES)
    if unknown:
        parser.error(f"there is no row {', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    return [row for row in ROWS if not set(wanted).isdisjoint(row.names)], asked.unsealed


def _unseal() -> None:
    """This process, and every one that it starts, seals nothing from now on."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(UNSEALED), *filter(None, [os.environ.get("PYTHONPATH")])])
    runpy.run_path(str(UNSEALED / "sitecustomize.py"))


def _without_sealing(figure: Figure) -> Figure:
    """The figure under a name of its own; it has no target."""
    return replace(figure, id=f"{figure.id}_unsealed", measure=f"{figure.measure}; nothing sealed", target=None)


def _by_parts(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    """Rows that are measured on the same stack, together."""
    for parts in dict.fromkeys(row.parts for row in rows):
        yield parts, [row for row in rows if row.parts == parts]


def _measure(rows: Sequence[Row], *, unsealed: bool) -> list[str]:
    """Measure the rows, and write down each as soon as it is known; returns the table."""
    table: list[str] = []
    for parts, together in _by_parts(rows):
        say(f"starting {', '.join(parts)}")
        with Stack.temporary(only=parts) as stack:
            site = Site(stack)
            for row in together:
                say(f"{' and '.join(row.names)}")
                run(_measured(row, site, table, unsealed=unsealed))
    return table


async def _measured(row: Row, site: Site, table: list[str], *, unsealed: bool) -> None:
    """Bring the table up to date with a row. Raises TimeoutError where something waited for never comes."""
    async with asyncio.timeout(row.seconds):
        figures = await row.measure(site)
    if unsealed:
        figures = [_without_sealing(figure) for figure in figures]
    table[:] = write(figures, await machine.describe(site.addresses))


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    rows, unsealed = _chosen(arguments)
    if unsealed:
        _unseal()
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        table = _measure(rows, unsealed=unsealed)
    except KeyboardInterrupt:
        say("interrupted; what was measured until now is in the table")
        return 130
    sys.stdout.write("\n".join(["", *table, ""]))
    not_met = missed(table)
    sys.stdout.write(f"\nNot met: {', '.join(not_met)}.\n" if not_met else "\nEvery target is met.\n")
    sys.stdout.write(f"The table stands in {TABLE}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
