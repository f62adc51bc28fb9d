"""`crm trace`: what led to an event, and everything that followed from it."""

import asyncio
import json
from collections import defaultdict
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from crm_local.errors import LocalStackError
from crm_local.gateway import GatewayRefusalError, open_gateway
from crm_local.running import running_addresses
from crm_local.settings import LocalSettings

_ROLE = "analyst"


def trace(
    event_id: Annotated[str, typer.Argument(help="An event's id, as 'crm parked show' or a history gives it.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the answer as the gateway gave it.")] = False,
) -> None:
    """Show what led to an event, everything that followed from it across services, and which customers it touched."""
    try:
        asked = UUID(event_id)
    except ValueError:
        raise LocalStackError(f"{event_id} is no event's id: it has the form of a UUID") from None
    answer = asyncio.run(_ask(asked))
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    console = Console()
    console.print(_tree(answer), highlight=False)
    console.print(f"{len(answer['effects'])} events followed. Customers touched: {len(answer['customers'])}")
    for contact in answer["customers"]:
        console.print(f"  {contact}", highlight=False)
    if not answer["complete"]:
        console.print("The story is too long to be shown whole.", style="yellow")


async def _ask(event_id: UUID) -> Any:
    async with open_gateway(running_addresses(LocalSettings().folder)) as gateway:
        try:
            return (await gateway.get(f"/api/events/{event_id}/trace", role=_ROLE, parameters={})).body
        except GatewayRefusalError as refusal:
            if refusal.status == 404:
                raise LocalStackError(f"no published event has the id {event_id}") from refusal
            raise


def _tree(answer: Any) -> Tree:
    """The causes as a path down to the event, its effects below it."""
    path: list[Any] = [*answer["causes"], answer["event"]]
    root = branch = Tree(_line(path[0], answer), guide_style="dim")
    for each in path[1:]:
        branch = branch.add(_line(each, answer))
    caused = defaultdict[str, list[Any]](list)
    for effect in answer["effects"]:
        caused[effect["cause"]].append(effect)
    waiting = [(answer["event"]["id"], branch)]
    while waiting:
        cause, below = waiting.pop()
        waiting += [(effect["id"], below.add(_line(effect, answer))) for effect in caused[cause]]
    return root


def _line(event: Any, answer: Any) -> Text:
    name = event["type"].removeprefix("crm.")
    style = "bold" if event["id"] == answer["event"]["id"] else ""
    return Text.assemble((name, style), f"  {event['id']}  {event['recorded_at']}  ", (event["actor"], "dim"))
