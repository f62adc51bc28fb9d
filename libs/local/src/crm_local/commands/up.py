"""`crm up`: start the stack and keep it running."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from crm_local.background import start_supervisor, wait_until_running
from crm_local.demo.fill import fill_if_empty
from crm_local.display import Display
from crm_local.folder import StateFolder
from crm_local.lifeline import when_stdin_closes
from crm_local.plan import Addresses, Plan, make_plan, selected_parts
from crm_local.settings import LocalSettings
from crm_local.state import Phase, StackRecord, sole_supervisor
from crm_local.supervisor import Supervisor, stop_leftovers


def up(
    only: Annotated[
        list[str] | None,
        typer.Option(help="A part, or 'infrastructure'; may be given more than once. Services bring what they need."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Fill an empty installation with the demo.")] = False,
    until_stdin_closes: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Start Kafka, MongoDB, PostgreSQL and the services, and keep them running until Ctrl-C."""
    settings = LocalSettings()
    names = only or []
    selected_parts(names)
    if detach:
        _start_detached(settings, names, demo)
    else:
        _run_in_foreground(settings, names, until_stdin_closes, demo)


def _start_detached(settings: LocalSettings, only: list[str], demo: bool) -> None:
    console = Console()
    display = Display(console)
    _refuse_if_running(settings.folder)
    supervisor = start_supervisor(settings.folder, settings.gateway_port, only, tied_to_caller=False)
    try:
        record = wait_until_running(supervisor, settings.folder, display.show)
    finally:
        display.close()
    _welcome(console, settings.folder, record)
    console.print("It runs in the background: 'crm status' shows it, 'crm down' stops it.", highlight=False)
    if demo:
        asyncio.run(fill_if_empty(settings.folder))


def _refuse_if_running(folder: StateFolder) -> None:
    folder.create()
    with sole_supervisor(folder):
        return


def _run_in_foreground(settings: LocalSettings, only: list[str], until_stdin_closes: bool, demo: bool) -> None:
    console = Console()
    folder = settings.folder
    folder.create()
    with sole_supervisor(folder):
        for name in stop_leftovers(folder):
            console.print(f"stopped {name}, which an earlier start had left running", highlight=False)
        plan = make_plan(folder, settings.gateway_port, only)
        asyncio.run(_supervise(plan, console, until_stdin_closes, demo))


async def _supervise(plan: Plan, console: Console, until_stdin_closes: bool, demo: bool) -> None:
    display = Display(console)
    is_welcomed = False
    filling: asyncio.Task[None] | None = None

    def watch(record: StackRecord) -> None:
        nonlocal is_welcomed, filling
        display.show(record)
        if record.phase is Phase.RUNNING and not is_welcomed:
            is_welcomed = True
            _welcome(console, plan.folder, record)
            if demo:
                filling = asyncio.get_running_loop().create_task(fill_if_empty(plan.folder))

    supervisor = Supervisor(plan, watch)
    lifeline = await when_stdin_closes(supervisor.request_stop) if until_stdin_closes else None
    try:
        await supervisor.run()
    finally:
        if filling is not None:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
        display.close()
        if lifeline is not None:
            lifeline.close()


def _welcome(console: Console, folder: StateFolder, record: StackRecord) -> None:
    console.print()
    if "gateway" in record.parts:
        gateway = Addresses.of(folder).service_url("gateway")
        console.print(f"The platform is ready at [bold]{gateway}[/bold]", highlight=False)
        console.print('A token for it: [bold]crm token --role sales[/bold], sent as "Authorization: Bearer ..."')
    else:
        ready = ", ".join(f"{part.name} {part.address}" for part in record.parts.values())
        console.print(f"Ready: {ready}", highlight=False, soft_wrap=True)
