"""What happens to every request before and after its route: an id, a bound on its body, a log line, its metrics."""

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from typing import Any, Final, TypeVar

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_platform.http.problems import internal_error, too_busy
from crm_platform.logging import get_logger
from crm_platform.metrics import HTTP_REQUEST_SECONDS, HTTP_REQUESTS, REQUESTS_SHED

BODY_WITHIN_SECONDS = 30.0
PROBES: Final = frozenset(("/livez", "/readyz", "/startupz", "/metrics"))
UNMATCHED = "unmatched"
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# No @ and no space: an address must not come in as a request id, for the id is logged.
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_BODY_LIMIT = "__body_limit__"
_STREAMS = "__streams__"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

log = get_logger("crm_platform.http")


def accepts_bodies_up_to(limit: int) -> Callable[[Endpoint], Endpoint]:
    """Declare that a route takes bodies of up to `limit` bytes, where the service's own limit is lower."""

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _BODY_LIMIT, limit)
        return endpoint

    return declare


def streams(endpoint: Endpoint) -> Endpoint:
    """Declare that a route's answer goes on for as long as the client listens.

    It counts as answered once it begins: an open stream is no request in work, and its end says nothing about speed.
    """
    setattr(endpoint, _STREAMS, True)
    return endpoint


class RequestMiddleware:
    """Pure ASGI, one layer: it stands on the path of every command.

    At most `most_in_work` requests are worked on at once; more are refused at once, so that those in work are answered
    and memory stays bounded. Probes always pass. Once the process is `stopping`, each answer closes its connection:
    clients find another process before this one goes.
    """

    def __init__(self, app: ASGIApp, body_limit: int, most_in_work: int, stopping: Callable[[], bool]) -> None:
        self._app = app
        self._body_limit = body_limit
        self._most_in_work = most_in_work
        self._in_work = 0
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        work = 0
        exchange = _Exchange(
            scope, send, _request_id(headers), closes=self._stopping(), answered=lambda: self._let_go(work)
        )
        structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        body = _BoundedBody(scope, receive, headers.get("content-length"), self._body_limit)
        app, work = self._admitted(scope)
        self._in_work += work
        try:
            await app(scope, body.receive, exchange.send)
        except Exception as error:
            if exchange.status:
                raise
            log.exception("request failed", exc_info=error)
            await internal_error(scope)(scope, receive, exchange.send)
        finally:
            exchange.finish()

    def _let_go(self, work: int) -> None:
        self._in_work -= work

    def _admitted(self, scope: Scope) -> tuple[ASGIApp, int]:
        """What answers the request, and how much work it is."""
        if scope["path"] in PROBES:
            return self._app, 0
        if self._in_work < self._most_in_work:
            return self._app, 1
        REQUESTS_SHED.labels("busy").inc()
        return too_busy(scope), 0


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id")
    return given if given and _SANE_ID.fullmatch(given) else uuid.uuid4().hex


class _Exchange:
    """One request and its answer. `answered` is called once, when it is."""

    def __init__(
        self, scope: Scope, send: Send, request_id: str, *, closes: bool, answered: Callable[[], None]
    ) -> None:
        self._scope = scope
        self._send = send
        self._closes = closes
        self._answered = answered
        self._finished = False
        self._began = time.perf_counter()
        self.request_id = request_id
        self.status = 0
        scope.setdefault("state", {})["request_id"] = request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"] = list(message.get("headers", ()))
            headers.append((b"x-request-id", self.request_id.encode()))
            headers.append((b"x-content-type-options", b"nosniff"))
            if self._closes:
                headers.append((b"connection", b"close"))
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"private, no-cache"))
        await self._send(message)
        if message["type"] == "http.response.start" and getattr(self._scope.get("endpoint"), _STREAMS, False):
            self.finish()

    def finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        self._answered()
        seconds = time.perf_counter() - self._began
        method = self._scope["method"] if self._scope["method"] in METHODS else "other"
        route = route_of(self._scope)
        HTTP_REQUESTS.labels(method, route, str(self.status)).inc()
        HTTP_REQUEST_SECONDS.labels(method, route).observe(seconds)
        write = log.debug if route in PROBES else log.info
        write("request", method=method, route=route, status=self.status, duration_ms=round(seconds * 1000, 2))


def route_of(scope: Scope) -> str:
    """The template of the route that a request was matched to."""
    if scope["path"] in PROBES:
        path: str = scope["path"]
        return path
    template: str = getattr(scope.get("route"), "path", UNMATCHED)
    return template


class _BoundedBody:
    """A request body that is refused once it is too long or too slow, also when it comes in chunks."""

    def __init__(self, scope: Scope, receive: Receive, declared: str | None, limit: int) -> None:
        self._scope = scope
        self._receive = receive
        self._declared = declared
        self._default = limit
        self._limit = -1
        self._received = 0
        self._deadline = 0.0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        if self._limit < 0:
            self._begin()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408) from None
        self._received += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._received > self._limit:
            raise self._too_long()
        return message

    def _begin(self) -> None:
        # The route is known by now: a body is read after routing.
        self._limit = getattr(self._scope.get("endpoint"), _BODY_LIMIT, self._default)
        self._deadline = asyncio.get_running_loop().time() + BODY_WITHIN_SECONDS
        if self._declared and self._declared.isdecimal() and int(self._declared) > self._limit:
            raise self._too_long()

    def _too_long(self) -> HTTPException:
        # No Refusal: FastAPI, which reads the body, would take any other error for one of parsing.
        return HTTPException(413, f"The body may be at most {self._limit} bytes: send a shorter one.")
