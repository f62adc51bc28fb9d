"""`crm parked`: events that could not be applied, looked at and resolved."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from rich.console import Console

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
    """Show what waits of one key, in order, at each consumer that has parked it; personal data stays sealed."""

    async def look(desk: Desk) -> list[tuple[ParkedKey, list[ParkedEvent]]]:
        return [(parked, await desk.events(parked)) for parked in await desk.everywhere(key, service, consumer)]

    found = _at_the_desk(look)
    if as_json:
        items = [
            parked.model_dump(mode="json") | {"events": [event.model_dump(mode="json") for event in events]}
            for parked, events in found
        ]
        print(json.dumps({"items": items}, indent=2, ensure_ascii=False))
        return
    for number, (parked, events) in enumerate(found):
        print(end="\n" if number else "")
        _show_events(parked, events)


def retry(
    key: Annotated[str | None, typer.Argument(help="The parked key; or --all.")] = None,
    service: Service = None,
    consumer: Consumer = None,
    everything: Annotated[bool, typer.Option("--all", help="Retry every parked key.")] = False,
) -> None:
    """Apply what waits, in order, once the cause is mended, at each consumer that has parked the key.

    Exits with 1 if an event still cannot be applied.
    """
    if (key is None) is not everything:
        raise LocalStackError("say what to retry: a KEY that 'crm parked list' shows, or --all")

    async def resolve(desk: Desk) -> bool:
        if key is not None:
            return all([await _retry(desk, each) for each in await desk.everywhere(key, service, consumer)])
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
    """Give up the first event of a parked key, the one that cannot be applied. It cannot be taken back.

    It is given up at each consumer that has parked the key, if all of them wait for the same event.
    """
    if not _SHORTEST_REASON <= len(reason.strip()) <= _LONGEST_REASON:
        raise LocalStackError(f"--reason must be {_SHORTEST_REASON} to {_LONGEST_REASON} characters: it is recorded")
    if not yes and not sys.stdin.isatty():
        raise LocalStackError("there is nobody to ask: --yes discards without asking")
    found = _at_the_desk(lambda desk: desk.everywhere(key, service, consumer))
    if len({parked.first_event for parked in found}) > 1:
        places = ", ".join(f"{each.service}/{each.consumer}" for each in found)
        raise LocalStackError(f"other events of {key} wait at {places}: say which with --service and --consumer")
    if not yes:
        for parked in found:
            print(_what_is_given_up(parked, everything))
        typer.confirm("Discard for good?", abort=True)

    async def give_up(desk: Desk) -> bool:
        return all([await _discard(desk, parked, reason.strip(), everything) for parked in found])

    if not _at_the_desk(give_up):
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


async def _discard(desk: Desk, key: ParkedKey, reason: str, everything: bool) -> bool:
    """Whether nothing remains."""
    done = await desk.discard(key, reason, everything=everything)
    print(f"{_name(key)}: {done.discarded} discarded, {done.remaining} remaining")
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
    """Two lines for each key, whole on a terminal of any width: names and keys are there to be copied."""
    now = datetime.now(UTC)
    for each in found.keys:
        events = "1 event" if each.events == 1 else f"{each.events} events"
        print(_name(each))
        print(f"  {events}, since {ago(each.parked_at, now)}: {_reason(each.reason)}")
    if not found.keys and not found.silent:
        print("Nothing is parked.")
    _tell_silent(found)


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
