"""`crm parked`: events that could not be applied, looked at and resolved."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crm_local.customer.words import ago, moment, plain
from crm_local.errors import LocalStackError
from crm_local.gateway import open_gateway
from crm_local.parked.desk import Desk, Found, ParkedEvent, ParkedKey
from crm_local.running import running_addresses
from crm_local.settings import LocalSettings

_SHORTEST_REASON, _LONGEST_REASON = 3, 500

T = TypeVar("T")
Service = Annotated[str | None, typer.Option(help="Only what this service has parked.")]
Consumer = Annotated[str | None, typer.Option(help="Only what this projection or policy has parked.")]
Key = Annotated[str, typer.Argument(help="The parked key, as 'crm parked list' shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON document.")]


def list_parked(service: Service = None, consumer: Consumer = None, as_json: AsJson = False) -> None:
    """List the parked keys of all services, the longest parked first. Exits with 1 if a service does not answer."""
    found = _at_the_desk(lambda desk: desk.keys(service, consumer))
    if as_json:
        items = [key.model_dump(mode="json") for key in found.keys]
        print(json.dumps({"items": items, "silent": found.silent}, indent=2, ensure_ascii=False))
    else:
        _show_keys(found)
    if found.silent:
        raise typer.Exit(1)


def show(key: Key, service: Service = None, consumer: Consumer = None, as_json: AsJson = False) -> None:
    """Show what waits of one key, in order; personal data stays sealed."""

    async def look(desk: Desk) -> tuple[ParkedKey, list[ParkedEvent]]:
        parked = await desk.the_one(key, service, consumer)
        return parked, await desk.events(parked)

    parked, events = _at_the_desk(look)
    if as_json:
        document = parked.model_dump(mode="json") | {"events": [event.model_dump(mode="json") for event in events]}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _show_events(parked, events)


def retry(
    key: Annotated[str | None, typer.Argument(help="The parked key; or --all.")] = None,
    service: Service = None,
    consumer: Consumer = None,
    everything: Annotated[bool, typer.Option("--all", help="Retry every parked key.")] = False,
) -> None:
    """Apply what waits, in order, once the cause is mended. Exits with 1 if an event still cannot be applied."""
    if (key is None) is not everything:
        raise LocalStackError("say what to retry: a KEY that 'crm parked list' shows, or --all")

    async def resolve(desk: Desk) -> bool:
        if key is not None:
            return await _retry(desk, await desk.the_one(key, service, consumer))
        found = await desk.keys(service, consumer)
        done = [await _retry(desk, each) for each in found.keys]
        if not done:
            print("Nothing is parked.")
        _tell_silent(found)
        return all(done) and not found.silent

    if not _at_the_desk(resolve):
        raise typer.Exit(1)


def discard(
    key: Key,
    reason: Annotated[str, typer.Option(help="Why it may be given up; it is recorded with your name.")],
    service: Service = None,
    consumer: Consumer = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that waits of the key; without it, only the first event.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Give up the first event of a parked key, the one that cannot be applied. It cannot be taken back."""
    if not _SHORTEST_REASON <= len(reason.strip()) <= _LONGEST_REASON:
        raise LocalStackError(f"--reason must be {_SHORTEST_REASON} to {_LONGEST_REASON} characters: it is recorded")
    if not yes and not sys.stdin.isatty():
        raise LocalStackError("there is nobody to ask: --yes discards without asking")
    parked = _at_the_desk(lambda desk: desk.the_one(key, service, consumer))
    if not yes:
        typer.confirm(f"{_what_is_given_up(parked, everything)} Discard for good?", abort=True)
    done = _at_the_desk(lambda desk: desk.discard(parked, reason.strip(), everything=everything))
    print(f"{_name(parked)}: {done.discarded} discarded, {done.remaining} remaining")
    if done.remaining:
        print("'crm parked retry' applies what remains.")


def _at_the_desk(ask: Callable[[Desk], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_gateway(running_addresses(LocalSettings().folder)) as gateway:
            return await ask(Desk(gateway))

    return asyncio.run(run())


async def _retry(desk: Desk, key: ParkedKey) -> bool:
    """Whether nothing remains."""
    done = await desk.retry(key)
    remaining = (
        f", {done.remaining} remaining: {plain(done.reason or 'no reason given', 500)}" if done.remaining else ""
    )
    print(f"{_name(key)}: {done.applied} applied{remaining}")
    return not done.remaining


def _name(key: ParkedKey) -> str:
    return plain(f"{key.service}/{key.consumer} {key.key}", 400)


def _what_is_given_up(key: ParkedKey, everything: bool) -> str:
    first = f"{key.event_type or 'an event of unknown type'} ({key.event_id or 'no id'})"
    what = f"all {key.events} events" if everything else f"the first of {key.events} events, {first},"
    return f"{_name(key)}: {plain(what, 400)} will never be applied there. It waits because: {_reason(key.reason)}."


def _reason(reason: str | None) -> str:
    return plain(reason, 500) if reason else "an event before it waits"


def _show_keys(found: Found) -> None:
    console = Console()
    if found.keys:
        console.print(_table(found.keys, datetime.now(UTC)))
    elif not found.silent:
        console.print("Nothing is parked.")
    _tell_silent(found)


def _table(keys: list[ParkedKey], now: datetime) -> Table:
    """A row for each key. On a narrow terminal only the reason wraps: a key is there to be copied."""
    rows = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("service", "consumer", "key", "events", "since", "reason"):
        rows.add_column(heading, overflow="fold", no_wrap=heading != "reason")
    for each in keys:
        cells = (each.service, each.consumer, each.key, str(each.events), ago(each.parked_at, now))
        rows.add_row(*(Text(plain(cell, 300)) for cell in cells), Text(_reason(each.reason)))
    return rows


def _tell_silent(found: Found) -> None:
    for service, words in found.silent.items():
        Console(stderr=True).print(f"{service} did not tell: {words}", style="red", highlight=False, markup=False)


def _show_events(parked: ParkedKey, events: list[ParkedEvent]) -> None:
    print(f"{_name(parked)} on {plain(parked.topic)}: {parked.events} waiting")
    for event in events:
        print()
        print(f"{plain(event.event_type or 'of unknown type')}  {event.event_id or 'no id'}")
        position = "none" if event.position is None else str(event.position)
        print(f"  offset {event.offset}, position {position}, parked {moment(event.parked_at)}")
        print(f"  {_reason(event.reason)}")
        if event.raw is not None:
            print(f"  base64: {event.raw}")
        else:
            print(_indented(json.dumps(event.record, indent=2)))
    if len(events) < parked.events:
        print(f"\n... and {parked.events - len(events)} more behind them")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
