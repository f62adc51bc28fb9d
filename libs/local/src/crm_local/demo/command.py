"""`crm demo`: a day in the life of a small firm, played on the running stack."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from crm_local.demo.arrival import all_visible
from crm_local.demo.memory import beginning
from crm_local.demo.people import SEEDS
from crm_local.demo.plan import FEWEST_CONTACTS, MOST_CONTACTS, plan_day
from crm_local.demo.play import AT_ONCE, Player
from crm_local.demo.script import Day
from crm_local.gateway import open_gateway
from crm_local.interruption import EXIT_CODE
from crm_local.progress import progress_bar
from crm_local.publish.sender import connect
from crm_local.running import running_addresses
from crm_local.settings import LocalSettings


def demo(
    seed: Annotated[int, typer.Option(min=SEEDS.start, max=SEEDS.stop - 1, help="Which day is played.")] = 1,
    contacts: Annotated[int, typer.Option(min=FEWEST_CONTACTS, max=MOST_CONTACTS, help="How many contacts.")] = 300,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="Return when every interaction shows in the customer views.")
    ] = False,
) -> None:
    """Play a business day: contacts, leads, deals, tickets, campaigns and thousands of interactions.

    The same seed gives the same day: playing it again changes nothing, and one that was interrupted is resumed.
    """
    try:
        asyncio.run(play_day(seed, contacts, until_done=until_done))
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted: run it again to go on, nothing happens twice.", highlight=False)
        raise typer.Exit(EXIT_CODE) from None


async def play_day(seed: int, contacts: int, *, until_done: bool) -> None:
    """Play the day on the running stack, with a progress bar. Raises LocalStackError."""
    folder = LocalSettings().folder
    addresses = running_addresses(folder)
    day = plan_day(seed, contacts, beginning(folder, seed, contacts).now)
    steps = sum(act.steps for act in day.acts)
    with progress_bar() as progress:
        playing = progress.add_task("playing the day", total=steps + len(day.messages))
        async with open_gateway(addresses, AT_ONCE) as gateway, connect(addresses.kafka_bootstrap) as sender:
            player = Player(seed, gateway, sender, lambda done: progress.advance(playing, done))
            await player.play(day)
            if until_done:
                showing = progress.add_task("waiting for the views", total=len(day.messages))
                await all_visible(day, player.ids, gateway, lambda done: progress.advance(showing, done))
    _summarise(day)


def _summarise(day: Day) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for act in day.acts:
        console.print(f"{len(act.stories):>6,}  {act.title.lower()}, {act.steps:,} steps")
    console.print(f"{len(day.messages):>6,}  interactions")
    console.print(f"A customer with a story: [bold]crm customer {day.hero}[/bold]")
