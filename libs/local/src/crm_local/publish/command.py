"""`crm publish`: a channel adapter that reads a file."""

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.markup import escape

from crm_local.errors import LocalStackError
from crm_local.interruption import EXIT_CODE
from crm_local.progress import progress_bar
from crm_local.publish import json_lines, orders, people
from crm_local.publish.lines import read_lines
from crm_local.publish.message import to_message
from crm_local.publish.outcome import Outcome, Refused
from crm_local.publish.refusal import FileRefusedError
from crm_local.publish.run import SHOWN, Tally
from crm_local.publish.run import publish as publish_all
from crm_local.publish.sender import KafkaSilentError, connect
from crm_local.running import running_addresses
from crm_local.settings import LocalSettings

_SOME_REFUSED = 1
_NOT_DONE = 2
_ADAPTER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


class Format(StrEnum):
    """How a file is written."""

    ORDERS = "orders"
    PEOPLE = "people"
    JSONL = "jsonl"


_SOURCES = {Format.ORDERS: orders.SOURCE, Format.PEOPLE: people.SOURCE, Format.JSONL: json_lines.SOURCE}


def publish(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The file to read.")],
    written_as: Annotated[
        Format,
        typer.Option(
            "--as", help="orders: CDNOW columns. people: FEBRL fields. jsonl: one record of the contract a line."
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(help="The adapter's name, part of every record's id; cdnow, people or jsonl unless given."),
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(help="Another Kafka than the local stack's, as HOST:PORT.")] = None,
    refused: Annotated[
        Path | None, typer.Option(dir_okay=False, writable=True, help="Write every refusal to this file.")
    ] = None,
) -> None:
    """Publish the records of a file to crm.interactions.

    Repeating it is harmless: each record has an id of its own, a repeat changes nothing. Exits with 1 if a line was
    refused, with 2 if the file cannot be read or Kafka does not answer, or
    acknowledges nothing for 15 seconds.
    """
    tally = Tally()
    try:
        name = _adapter_name(source or _SOURCES[written_as])
        if refused is not None and refused.exists() and refused.samefile(file):
            raise LocalStackError("--refused names the file that is to be published: take another one")
        job = _Job(
            file, written_as, name, bootstrap or running_addresses(LocalSettings().folder).kafka_bootstrap, refused
        )
        asyncio.run(_run(job, tally))
    except KeyboardInterrupt:
        _show(tally)
        _say(f"Interrupted after line {tally.last_line}. Run it again for the rest: what was taken stays as it is.")
        raise typer.Exit(EXIT_CODE) from None
    except KafkaSilentError as silence:
        _show(tally)
        _say(f"Kafka no longer answers; {_reached(tally)}. Run it again for the rest: nothing counts twice.")
        raise typer.Exit(_NOT_DONE) from silence
    except (LocalStackError, FileRefusedError, OSError) as reason:
        if tally.last_line:
            _show(tally)
        _say(f"crm: {reason}")
        raise typer.Exit(_NOT_DONE) from reason
    _show(tally)
    if tally.refused:
        raise typer.Exit(_SOME_REFUSED)


def _adapter_name(name: str) -> str:
    if not _ADAPTER_NAME.fullmatch(name):
        raise LocalStackError("a source is named by 1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first")
    return name


@dataclass(frozen=True)
class _Job:
    """What to publish from where, under which adapter's name, to which Kafka; where to list the refusals."""

    path: Path
    written_as: Format
    name: str
    bootstrap: str
    refusals: Path | None


async def _run(job: _Job, tally: Tally) -> None:
    now = datetime.now(UTC)
    with ExitStack() as open_files:
        file = open_files.enter_context(job.path.open("rb"))
        outcomes = _read(file, job.written_as)
        progress = open_files.enter_context(progress_bar())
        task = progress.add_task("publishing", total=os.fstat(file.fileno()).st_size)
        async with connect(job.bootstrap) as sender:
            listed = open_files.enter_context(job.refusals.open("w")) if job.refusals else None

            def done(outcome: Outcome) -> None:
                tally.count(outcome)
                progress.update(task, completed=outcome.line.end)
                if listed and isinstance(outcome, Refused):
                    listed.write(_refusal(outcome) + "\n")

            await publish_all(outcomes, lambda taken: to_message(taken.record, job.name, now), sender, done)


def _read(file: BinaryIO, written_as: Format) -> Iterator[Outcome]:
    lines = read_lines(file)
    match written_as:
        case Format.ORDERS:
            return orders.read_orders(lines)
        case Format.PEOPLE:
            # A file that has not changed describes people as of the same moment, however often it is published.
            as_of = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
            return people.read_people(lines, as_of)
        case Format.JSONL:
            return json_lines.read_json_lines(lines)


def _show(tally: Tally) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{tally.taken:,} taken, {tally.refused:,} refused")
    for warning in tally.first_warnings:
        console.print(f"[yellow]line {warning.line.number}, taken: {escape(warning.warning or '')}[/]")
    if tally.warned > SHOWN:
        console.print(f"[yellow]and {tally.warned - SHOWN:,} more lines of which a part was left out[/]")
    for refusal in tally.first_refusals:
        console.print(f"[red]{escape(_refusal(refusal))}[/]")
    if tally.refused > SHOWN:
        console.print(f"[red]and {tally.refused - SHOWN:,} more refused; --refused FILE lists all[/]")


def _reached(tally: Tally) -> str:
    if not tally.taken:
        return "none of the lines is acknowledged"
    return f"{tally.taken:,} of the lines are acknowledged up to line {tally.last_line}"


def _refusal(refusal: Refused) -> str:
    return f"line {refusal.line.number}: {refusal.reason}"


def _say(sentence: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(escape(sentence))
