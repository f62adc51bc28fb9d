"""Parked events of every service, for administrators: handed on to the service, or answered here for the gateway."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Request, Response
from starlette.types import Message

from crm_gateway.api.proxy import hand_on
from crm_gateway.services import Services
from crm_platform.auth import Role, require
from crm_platform.errors import NotFound

PREFIX = "/api/parked"
OWN = "gateway"


def parked_routes(services: Services) -> APIRouter:
    """`/api/parked/{service}/...` is `/parked/...` of that service."""
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(require(Role.ADMIN))], include_in_schema=False)

    async def forward(service: str, request: Request) -> Response:
        target = _target(request.scope)
        if service == OWN:
            return await _answered_here(request, target)
        if service not in services.names:
            raise NotFound(f"There is no service {service}: there are {', '.join((*services.names, OWN))}.")
        return await hand_on(services, service, request, target)

    for path in ("/{service}", "/{service}/{path:path}"):
        router.add_api_route(path, forward, methods=["GET", "POST"], name=f"parked: {path}")
    return router


def _target(scope: Mapping[str, Any]) -> str:
    """The path at the service, encoded as it came in: a key may hold a slash."""
    path: str = scope["raw_path"].decode("ascii")
    rest = path.removeprefix(f"{PREFIX}/").partition("/")[2]
    if not {".", ".."}.isdisjoint(unquote(step) for step in rest.split("/")):
        raise NotFound("There is no such thing: the path must not step upwards.")
    return f"/parked/{rest}" if rest else "/parked"


async def _answered_here(request: Request, target: str) -> Response:
    """What this process's own routes answer to that path."""
    status, headers, body = 0, list[tuple[bytes, bytes]](), bytearray()

    async def collect(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers.extend(message.get("headers", ()))
        else:
            body.extend(message.get("body", b""))

    scope = {**request.scope, "path": unquote(target), "raw_path": target.encode("ascii"), "query_string": b""}
    await request.app.router(scope, request.receive, collect)
    answer = Response(bytes(body), status)
    answer.raw_headers = headers
    return answer
