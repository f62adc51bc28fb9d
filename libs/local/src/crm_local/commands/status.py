"""`crm status`: what runs, where, and how well."""

import asyncio
import json
import time
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from crm_local.errors import NotReadyError
from crm_local.folder import StateFolder
from crm_local.plan import Addresses
from crm_local.settings import LocalSettings
from crm_local.state import PartRecord, PartState, StackRecord, read_record

_HEALTHY = "healthy"


class PartStatus(BaseModel):
    """One part as `crm status` shows it. `health` is `healthy` or what is wrong; the uptime is in seconds."""

    name: str
    address: str
    pid: int | None
    health: str
    restarts: int
    uptime_seconds: int | None
    log: str


def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON document.")] = False,
) -> None:
    """Show each part: address, process, health, restarts, uptime and log. Exits with 1 unless all are healthy."""
    folder = LocalSettings().folder
    record = read_record(folder)
    is_supervised = record is not None and record.is_supervised
    parts = asyncio.run(examine(folder, record)) if record is not None else []
    if as_json:
        document = {"supervised": is_supervised, "parts": [part.model_dump() for part in parts]}
        print(json.dumps(document, indent=2))
    else:
        _show(folder, parts, is_supervised)
    if not is_supervised or any(part.health != _HEALTHY for part in parts):
        raise typer.Exit(1)


async def examine(folder: StateFolder, record: StackRecord) -> list[PartStatus]:
    """What each part of the stack answers now."""
    addresses = Addresses.of(folder)
    return await asyncio.gather(*(_examine_part(addresses, part) for part in record.parts.values()))


async def _examine_part(addresses: Addresses, part: PartRecord) -> PartStatus:
    process = part.process.find() if part.process else None
    health = await _health(addresses, part) if process else _why_down(part)
    return PartStatus(
        name=part.name,
        address=part.address,
        pid=process.pid if process else None,
        health=health,
        restarts=part.restarts,
        uptime_seconds=int(time.time() - process.create_time()) if process else None,
        log=part.log,
    )


async def _health(addresses: Addresses, part: PartRecord) -> str:
    try:
        await addresses.part(part.name).check_ready()
    except NotReadyError as answer:
        return str(answer) if part.state is PartState.READY else part.state.value
    return _HEALTHY


def _why_down(part: PartRecord) -> str:
    gone = "died" if part.process else part.state.value
    return f"{gone}: {part.note}" if part.note else gone


def _show(folder: StateFolder, parts: list[PartStatus], is_supervised: bool) -> None:
    console = Console()
    if not is_supervised:
        console.print(f"No stack is running in {folder.root}: 'crm up' starts it.", highlight=False)
        if not any(part.pid for part in parts):
            return
    console.print(table(parts))
    console.print(f"logs: {folder.logs}, or 'crm logs PART'", style="dim", highlight=False, soft_wrap=True)


def table(parts: list[PartStatus]) -> Table:
    """A row for each part. On a narrow terminal only the health wraps: an address is there to be copied."""
    rows = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("part", "address", "pid", "health", "restarts", "uptime"):
        rows.add_column(heading, overflow="fold", no_wrap=heading != "health")
    for part in parts:
        style = "green" if part.health == _HEALTHY else "red"
        uptime = "" if part.uptime_seconds is None else _duration(part.uptime_seconds)
        pid = "" if part.pid is None else str(part.pid)
        health = f"[{style}]{part.health}[/]"
        rows.add_row(part.name, part.address, pid, health, str(part.restarts), uptime)
    return rows


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
