"""`crm rebuild`: fill a read model anew beside the live one, and switch; `crm verify READMODEL`: only compare."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from crm_local.errors import LocalStackError
from crm_local.progress import progress_bar
from crm_local.rebuild.words import sentence
from crm_local.running import running_addresses
from crm_local.service_job import service_of, told_by
from crm_local.settings import LocalSettings

ReadModel = Annotated[str, typer.Argument(help="The read model, such as sales.leads or gateway.customers.")]


def rebuild(
    read_model: ReadModel,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the generation before the live one.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Drop the generation before the live one.")] = False,
    abandon: Annotated[bool, typer.Option("--abandon", help="Drop what is half filled.")] = False,
    accept_differences: Annotated[
        bool, typer.Option("--accept-differences", help="Switch although the two generations differ.")
    ] = False,
) -> None:
    """Fill a read model anew from the log, compare it with the live one, and switch; readers notice nothing.

    Interrupted, it goes on where it was when called again.
    """
    options = {
        "--rollback": rollback,
        "--drop": drop,
        "--abandon": abandon,
        "--accept-differences": accept_differences,
    }
    chosen = [name for name, given in options.items() if given]
    if len(chosen) > 1:
        raise LocalStackError(f"one at a time: {', '.join(chosen)}")
    _show(_told("rebuild", read_model, *chosen))


def verify_read_model(read_model: str) -> None:
    """Compare a read model with an independent fold of the log. Exits with 1 where a document differs."""
    if _show(_told("verify", read_model)):
        raise typer.Exit(1)


def _told(job: str, read_model: str, *options: str) -> Iterator[dict[str, Any]]:
    addresses = running_addresses(LocalSettings().folder)
    return told_by(addresses, service_of(read_model), job, read_model, *options)


def _show(lines: Iterator[dict[str, Any]]) -> int:
    """Show what a job tells; returns how many documents differ."""
    differences = 0
    with progress_bar() as bar:
        task = bar.add_task("filling", total=None)
        for told in lines:
            if told["what"] == "progress":
                bar.update(task, completed=told["done"], total=told["total"])
                continue
            differences = told.get("differences", differences)
            for line in sentence(told):
                print(line)
    return differences
