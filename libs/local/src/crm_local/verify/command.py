"""`crm verify`: whether what is kept is what was written."""

from typing import Annotated

import typer

from crm_local.errors import LocalStackError
from crm_local.rebuild.command import verify_read_model
from crm_local.verify.chain import kept_checkpoints, verify_chains
from crm_platform.event_chain.checkpoint import SEAL_FORM


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="A read model, such as sales.leads; with --chain services, all unless given."),
    ] = None,
    chain: Annotated[bool, typer.Option("--chain", help="Verify that no stored event was altered.")] = False,
    kept: Annotated[
        list[str] | None,
        typer.Option(metavar=SEAL_FORM, help="With --chain, a checkpoint that was kept and must still be there."),
    ] = None,
) -> None:
    """Compare a read model with an independent fold of the log; or verify that the log is as it was written.

    Reads only, and the services may go on meanwhile. Exits with 1 if a document differs, or an event was altered, is
    missing or was put between: the first such event is named. Exits with 2 if a service's events cannot be verified.
    """
    if chain:
        raise typer.Exit(verify_chains(names or [], kept_checkpoints(kept or [])))
    if not names or len(names) != 1 or kept:
        raise LocalStackError("say what to verify: one read model, or --chain for the stored events")
    verify_read_model(names[0])
