"""The `crm` command line: every command is registered here and lives in a module of its own."""

import logging
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer
from rich.console import Console

from crm_local.commands.down import down
from crm_local.commands.logs import logs
from crm_local.commands.secrets import secrets
from crm_local.commands.status import status
from crm_local.commands.token import token
from crm_local.commands.up import up
from crm_local.customer.command import customer
from crm_local.demo.command import demo
from crm_local.errors import LocalStackError
from crm_local.interruption import EXIT_CODE, say_interrupted
from crm_local.keys import command as keys
from crm_local.parked import command as parked
from crm_local.publish.command import publish
from crm_local.rebuild.command import rebuild
from crm_local.trace.command import trace
from crm_local.verify.command import verify

# A broker that is not up yet is told in one line by the command that waits for it, not in one per attempt.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())


class _CommandLine(typer.Typer):
    """Shows a refusal as its sentence, without a trace."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except LocalStackError as refusal:
            Console(stderr=True).print(f"crm: {refusal}", style="red", highlight=False, markup=False, soft_wrap=True)
            sys.exit(1)


app = _CommandLine(
    help="The customer platform on this machine: start it, look at it, try it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """The command, ended by Ctrl-C in one line unless it has more to say about that itself."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            say_interrupted()
            raise typer.Exit(EXIT_CODE) from None

    return run


for each in (up, down, status, logs, token, secrets, publish, demo, customer, trace, rebuild, verify):
    app.command()(_interruptible(each))

parked_app = typer.Typer(help="Events that could not be applied, and wait for you: look at them, and resolve them.")
parked_app.command("list")(_interruptible(parked.list_parked))
parked_app.command("show")(_interruptible(parked.show))
parked_app.command("retry")(_interruptible(parked.retry))
parked_app.command("discard")(_interruptible(parked.discard))
app.add_typer(parked_app, name="parked", no_args_is_help=True)

keys_app = typer.Typer(help="The installation's key, which wraps the keys of personal data.")
for each in (keys.rotate, keys.check, keys.retire):
    keys_app.command()(_interruptible(each))
app.add_typer(keys_app, name="keys", no_args_is_help=True)
