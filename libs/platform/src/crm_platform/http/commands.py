"""Commands over HTTP: the order is read from the request, the receipt becomes the answer."""

import hmac
import re
import uuid
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, Field
from starlette.types import Scope

from crm_platform.auth import Actor, Guard, Role
from crm_platform.command import Command, Order, Receipt
from crm_platform.crash_points import CrashPoint, passing
from crm_platform.errors import Malformed, NotFound, VersionRequired
from crm_platform.event_store.store import CommandStore
from crm_platform.http.connected import connected
from crm_platform.http.etags import etag, parse_if_match
from crm_platform.http.middleware import route_of
from crm_platform.http.problems import request_id_of
from crm_platform.work import Handler

POSITION_HEADER: Final = "CRM-Position"
_KEY = re.compile(r"[!-~]{1,200}")
_ORDERS = uuid.UUID("6b1d3f0a-7c52-4b0e-9f6e-2a4f5d0c8e11")


class Written(BaseModel):
    """The answer to a command: what it was done to, and the version it has now."""

    id: uuid.UUID
    version: int = Field(ge=0)


class CommandSender:
    """Sends one command to the event store, under the conditions that its request states."""

    __slots__ = ("_actor", "_request", "_response", "_store")

    def __init__(self, request: Request, response: Response, actor: Actor) -> None:
        self._request = request
        self._response = response
        self._actor = actor
        self._store: CommandStore = connected(request.app.state.store)

    async def __call__(self, handler: Handler, command: Command) -> Written:
        """Have the handler do it, and answer when it is stored. Raises Refusal."""
        receipt = await self._store.run(handler, command, order_of(self._request, self._actor, command))
        passing(CrashPoint.COMMAND_BEFORE_REPLY)
        self._response.headers.update(headers_of(receipt))
        return Written(id=receipt.id, version=receipt.version)


def order_of(request: Request, actor: Actor, command: Command) -> Order:
    """The order that a request gives. Raises Malformed for its headers, NotFound for an id that cannot be one."""
    key = request.headers.get("idempotency-key")
    order_id = uuid.uuid4() if key is None else _id_from(key, request.scope, actor)
    return Order(
        id=order_id,
        actor=actor.subject,
        target=_target(request.path_params) or order_id,
        now=datetime.now(UTC),
        if_match=parse_if_match(request.headers.get("if-match")),
        client_given=key is not None,
        correlation=request_id_of(request.scope),
        fingerprint=b"" if key is None else fingerprint(key, command),
    )


def headers_of(receipt: Receipt) -> dict[str, str]:
    """What the answer to a command says besides its body: the version, and where its events stand."""
    headers = {"ETag": etag(receipt.version)}
    if receipt.positions:
        headers[POSITION_HEADER] = " ".join(receipt.positions)
    return headers


def _id_from(key: str, scope: Scope, actor: Actor) -> uuid.UUID:
    """One id per person, route, path and key: nobody meets another's receipt by guessing a key."""
    if not _KEY.fullmatch(key):
        raise Malformed("Idempotency-Key must be 1 to 200 visible ASCII characters.")
    parts = (actor.subject, scope["method"], route_of(scope), scope["path"], key)
    return uuid.uuid5(_ORDERS, orjson.dumps(parts).decode())


def fingerprint(key: str, command: Command) -> bytes:
    """32 bytes that tell whether a repeated key comes with the same command.

    Keyed with the client's key, which is stored nowhere: what a command says cannot be guessed from its fingerprint.
    """
    canonical = orjson.dumps(command.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    return hmac.digest(key.encode(), canonical, "sha256")


def _target(path_params: dict[str, Any]) -> uuid.UUID | None:
    given = path_params.get("id")
    if given is None:
        return None
    try:
        return uuid.UUID(str(given))
    except ValueError:
        raise NotFound("There is no such thing: the id in the path is not well formed.") from None


class CommandGuard(Guard):
    """The dependency that yields a CommandSender to those who have one of the roles."""

    def __init__(self, roles: tuple[Role, ...], *, if_match_required: bool = False, admin: bool = True) -> None:
        super().__init__(roles, admin=admin)
        self.if_match_required = if_match_required

    async def __call__(self, request: Request, response: Response) -> CommandSender:
        actor = await self.actor(request)
        if self.if_match_required and "if-match" not in request.headers:
            raise VersionRequired("Say which version is to be changed: send its ETag as If-Match.")
        return CommandSender(request, response, actor)


async def names_one(id: uuid.UUID) -> None:  # noqa: A002 - the path names it
    """A dependency for routes under `{id}`: the contract states the id that the sender reads from the path."""


def command_sender(*roles: Role, if_match_required: bool = False) -> CommandGuard:
    """A dependency that yields a CommandSender to those who have one of the roles; an admin always may.

    With `if_match_required` a request without If-Match is answered with 428.
    """
    return CommandGuard(roles, if_match_required=if_match_required)
