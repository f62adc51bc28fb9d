"""The web application of a service: its routers, with what every request has in common."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from crm_platform import tracing
from crm_platform.auth import TokenVerifier
from crm_platform.health import Health
from crm_platform.http.middleware import RequestMiddleware
from crm_platform.http.openapi import describe
from crm_platform.http.problems import install_problems, problem
from crm_platform.http.tracing import TracedRequests
from crm_platform.metrics import BUILD_INFO
from crm_platform.settings import ServiceSettings

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class ServiceApp(FastAPI):
    """FastAPI, whose OpenAPI document also tells what the platform does around every route."""

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = describe(super().openapi(), self.routes)
        return self.openapi_schema


def release() -> str:
    """The release of the platform that is running."""
    try:
        return version("crm-platform")
    except PackageNotFoundError:
        return "unknown"


def create_app(
    name: str,
    settings: ServiceSettings,
    routers: Iterable[APIRouter],
    health: Health,
    lifespan: Lifespan | None = None,
    middleware: Sequence[Middleware] = (),
) -> ServiceApp:
    """The application of the service `name`. `middleware` stands between what every request has and the routes.

    Its routes find on `app.state`: `verifier`, `cursor_key` and `stopping`, which says whether the process was told to
    stop, set here; `store` (CommandStore), `read_models`
    (projection class -> ReadModel) and `parking_lots` (consumer name -> ParkingLot), which the composition root sets
    once it is connected. Until then 503 is answered.
    """
    app = ServiceApp(
        title=f"crm-{name}",
        version=release(),
        lifespan=lifespan,
        middleware=middleware,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        # Its own spans and logs would name paths with ids, query strings and the messages of errors.
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
    )
    app.state.verifier = TokenVerifier(settings.auth_jwks, settings.auth_issuer, settings.auth_audience)
    app.state.cursor_key = settings.cursor_key.get_secret_value()
    app.state.stopping = lambda: health.stopping
    app.state.store = None
    app.state.read_models = {}
    app.state.parking_lots = None
    install_problems(app)
    app.add_middleware(
        RequestMiddleware,
        body_limit=settings.body_limit_bytes,
        most_in_work=settings.requests_in_work,
        stopping=lambda: health.stopping,
    )
    if tracing.is_on():
        app.add_middleware(TracedRequests)
    _add_probes(app, health)
    for router in routers:
        app.include_router(router)
    _add_description(app)
    BUILD_INFO.labels(name, release()).set(1)
    return app


def _add_probes(app: FastAPI, health: Health) -> None:
    async def livez(request: Request) -> Response:
        return _answer(request, "alive", health.dead())

    async def readyz(request: Request) -> Response:
        return _answer(request, "ready", health.not_ready())

    async def startupz(request: Request) -> Response:
        return _answer(request, "started", health.starting())

    async def metrics(_: Request) -> Response:
        health.measure()
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    probes = {"/livez": livez, "/readyz": readyz, "/startupz": startupz, "/metrics": metrics}
    for path, answer in probes.items():
        app.add_route(path, answer, include_in_schema=False)


def _add_description(app: FastAPI) -> None:
    """GET /openapi.json, behind the routers: a service that describes more than itself has a route of its own."""

    async def openapi(_: Request) -> Response:
        return Response(orjson.dumps(app.openapi()), media_type="application/json")

    app.add_route("/openapi.json", openapi, include_in_schema=False)


def _answer(request: Request, wanted: str, missing: list[str]) -> Response:
    if not missing:
        return Response(orjson.dumps({"status": wanted}), media_type="application/json")
    return problem(
        request.scope,
        503,
        f"not-{wanted}",
        f"The service is not {wanted}",
        f"Not {wanted}: {', '.join(missing)}.",
        headers={"Retry-After": "1"},
        parts=missing,
    )
