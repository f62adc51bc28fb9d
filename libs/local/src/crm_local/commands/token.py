"""`crm token`: an access token for the local stack."""

from typing import Annotated

import typer

from crm_local.settings import LocalSettings
from crm_local.tokens import DEFAULT_TTL, ROLES, issue_token


def token(
    role: Annotated[list[str], typer.Option(help=f"One of {', '.join(ROLES)}; may be given more than once.")],
    subject: Annotated[str | None, typer.Option(help="Who the token stands for; local-ROLE unless given.")] = None,
    ttl: Annotated[int, typer.Option(help="For how many seconds it is valid.")] = DEFAULT_TTL,
) -> None:
    """Print an access token, signed with the key of the local stack.

    Clocks differ, so services accept a token for up to 10 seconds after it expires. One that they have verified they
    remember for at most 5 minutes, and not beyond its expiry.
    """
    print(issue_token(LocalSettings().folder, role, subject, ttl))
