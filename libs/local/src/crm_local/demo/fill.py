"""Filling an empty installation: who starts the platform for the first time finds a firm in it."""

from rich.console import Console

from crm_local.demo.command import play_day
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.gateway import open_gateway
from crm_local.plan import Addresses

SEED = 1
CONTACTS = 300


async def fill_if_empty(folder: StateFolder) -> None:
    """Play the demo's day in an installation without contacts, or go on with one that was interrupted.

    A failure is told, and the platform goes on without the demo.
    """
    console = Console(highlight=False, soft_wrap=True)
    played = folder.root / "demo" / "played"
    if played.exists():
        return
    try:
        if not _is_begun(folder) and await _has_contacts(folder):
            return
        console.print("\nThe installation is empty: a small firm's business day is played into it.")
        await play_day(SEED, CONTACTS, until_done=True)
    except LocalStackError as refusal:
        console.print(f"The demo was not played to its end: {refusal}. 'crm demo' goes on with it.", style="red")
        return
    played.touch()


def _is_begun(folder: StateFolder) -> bool:
    return (folder.root / "demo" / f"seed-{SEED}.json").exists()


async def _has_contacts(folder: StateFolder) -> bool:
    async with open_gateway(Addresses.of(folder)) as gateway:
        return bool((await gateway.get("/api/kpis", role="analyst")).body["contacts"])
