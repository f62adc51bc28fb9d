"""Commands and queries for the service that owns them, handed on under /api."""

from collections.abc import Mapping

from fastapi import APIRouter, Depends, Request, Response

from crm_gateway.services import OWNERS, ServiceRequest, Services
from crm_platform import tracing
from crm_platform.auth import authenticated
from crm_platform.errors import NotFound
from crm_platform.http.problems import request_id_of

PREFIX = "/api"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
ASKED = ("authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "crm-after", "traceparent")
"""The request's headers that a service needs; its request id goes with them, and its trace, where it is traced here."""
ANSWERED = (
    "content-type",
    "etag",
    "crm-position",
    "link",
    "location",
    "retry-after",
    "www-authenticate",
    "allow",
    "cache-control",
)


def proxy_routes(services: Services) -> APIRouter:
    """Routes for each resource that a service owns. They are described by the services' own documents."""
    router = APIRouter(prefix=PREFIX, dependencies=[Depends(authenticated)], include_in_schema=False)
    for resource, service in OWNERS.items():
        endpoint = _Forwarding(services, service)
        for path in (f"/{resource}", f"/{resource}/{{path:path}}"):
            router.add_api_route(path, endpoint.forward, methods=METHODS, name=f"{service}: {resource}")
    return router


class _Forwarding:
    """Hands requests on to one service."""

    def __init__(self, services: Services, service: str) -> None:
        self._services = services
        self._service = service

    async def forward(self, request: Request) -> Response:
        return await hand_on(self._services, self._service, request, _target(request))


async def hand_on(services: Services, service: str, request: Request, target: str) -> Response:
    """The request as it came in, for `target` at the service; the service's answer as the gateway's own."""
    headers = {name: request.headers[name] for name in ASKED if name in request.headers}
    headers["x-request-id"] = request_id_of(request.scope)
    body = await request.body()
    with tracing.calling(service, request.method) as traced:
        answer = await services.send(service, ServiceRequest(request.method, target, headers | dict(traced), body))
    return Response(answer.body, answer.status, _headers_back(answer.headers))


def _target(request: Request) -> str:
    """Path and query as they came in, without the prefix; a path that steps upwards leads nowhere."""
    if not {".", ".."}.isdisjoint(request.scope["path"].split("/")):
        raise NotFound("There is no such thing: the path must not step upwards.")
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return path.decode("ascii").removeprefix(PREFIX) + (f"?{query.decode('ascii')}" if query else "")


def _headers_back(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {name: headers[name] for name in ANSWERED if name in headers}
    if kept.get("location", "").startswith("/"):
        kept["location"] = PREFIX + kept["location"]
    return kept
