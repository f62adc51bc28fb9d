"""`crm customer`: everything about one customer, on one page."""

import asyncio
import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from crm_events.event import Instant
from crm_local.customer.render import render
from crm_local.customer.view import CustomerView
from crm_local.errors import LocalStackError
from crm_local.gateway import GatewayRefusalError, open_gateway
from crm_local.running import running_addresses
from crm_local.settings import LocalSettings

_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
_ROLE = "service"
_CUSTOMERS = "/api/customers"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_PHONE = re.compile(r"\+?[0-9][0-9 ()./-]{4,}")


@dataclass(frozen=True)
class Question:
    """Which customer is meant: `words` say so to a person, path and parameters to the gateway."""

    words: str
    path: str = _CUSTOMERS
    parameters: dict[str, str] = field(default_factory=dict)

    def at(self, moment: str) -> "Question":
        """The same question about a past moment."""
        return replace(self, words=f"{self.words} at {moment}", parameters={**self.parameters, "at": moment})

    @property
    def as_of(self) -> datetime | None:
        """The past moment, where the gateway has taken it for one; None asks for the present."""
        at = self.parameters.get("at")
        return None if at is None else _INSTANT.validate_python(at)


def customer(
    who: Annotated[str, typer.Argument(help="A contact's id, e-mail address, phone number or handle.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the answer as the gateway gave it.")] = False,
    at: Annotated[
        str | None, typer.Option(help="As it was at this moment, such as 2026-03-02T09:30:00Z: what was known then.")
    ] = None,
) -> None:
    """Show the single customer view: who it is, what is open, and what happened, newest first.

    Exits with 1 if nobody is known by that.
    """
    asked = question(who) if at is None else question(who).at(at)
    answer = asyncio.run(_ask(asked))
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        Console().print(render(_view(answer), datetime.now(UTC), asked.as_of), highlight=False)


def question(who: str) -> Question:
    """What is asked for by a word that may be an id, an e-mail address, a phone number or a handle."""
    who = who.strip()
    try:
        return Question("with this id", f"{_CUSTOMERS}/{UUID(who)}")
    except ValueError:
        kind, words = _kind(who)
        return Question(words, parameters={kind: who})


def _kind(who: str) -> tuple[str, str]:
    if _EMAIL.fullmatch(who):
        return "email", "by this e-mail address"
    if _PHONE.fullmatch(who):
        hint = "" if who.startswith("+") else "; give it with its country code, as in +44 113 496 0000"
        return "phone", f"by this phone number{hint}"
    return "handle", "by this handle"


async def _ask(asked: Question) -> Any:
    async with open_gateway(running_addresses(LocalSettings().folder)) as gateway:
        try:
            return (await gateway.get(asked.path, role=_ROLE, parameters=asked.parameters)).body
        except GatewayRefusalError as refusal:
            if refusal.status == 404:
                raise LocalStackError(f"no customer is known {asked.words}") from refusal
            raise


def _view(answer: Any) -> CustomerView:
    try:
        return CustomerView.model_validate(answer)
    except ValidationError as error:
        members = ", ".join(".".join(map(str, each["loc"])) for each in error.errors(include_input=False))
        raise LocalStackError(
            f"the gateway answered with a view that this release cannot show ({members}): --json prints it as it is"
        ) from error
