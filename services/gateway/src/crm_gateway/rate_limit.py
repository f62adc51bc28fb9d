"""How often one token subject may ask: the gateway answers 429 before the services behind it feel anything.

Counted in this process: with several gateways a subject has its quota at each of them.
"""

import math
import time

from limits import RateLimitItemPerSecond, WindowStats
from limits.strategies import FixedWindowRateLimiter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crm_gateway.rate_windows import RateWindows
from crm_platform.auth import Actor, Role, authenticated
from crm_platform.errors import Refusal
from crm_platform.http.middleware import PROBES
from crm_platform.http.problems import problem
from crm_platform.metrics import REQUESTS_SHED

WINDOW_SECONDS = 10

Headers = dict[str, str]


class RateLimit:
    """Pure ASGI. Each answer to a known subject says what is left (draft-ietf-httpapi-ratelimit-headers).

    `people` and `adapters` are the requests that a subject may send in WINDOW_SECONDS: who has the role adapter is a
    program that may send more. A request without a valid token is left to its route, which refuses it.
    """

    def __init__(self, app: ASGIApp, people: int, adapters: int) -> None:
        self._app = app
        self._limiter = FixedWindowRateLimiter(RateWindows())
        self._people = RateLimitItemPerSecond(people, WINDOW_SECONDS, "people")
        self._adapters = RateLimitItemPerSecond(adapters, WINDOW_SECONDS, "adapters")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        actor = await _actor(scope)
        if actor is None:
            await self._app(scope, receive, send)
            return
        quota = self._adapters if Role.ADAPTER in actor.roles else self._people
        admitted = self._limiter.hit(quota, actor.subject)
        window = self._limiter.get_window_stats(quota, actor.subject)
        headers = _headers(quota, window)
        if admitted:
            await self._app(scope, receive, _with_headers(send, headers))
        else:
            REQUESTS_SHED.labels("rate").inc()
            await _too_many(scope, quota, headers, _seconds_left(window))(scope, receive, send)


async def _actor(scope: Scope) -> Actor | None:
    if scope["type"] != "http" or scope["path"] in PROBES:
        return None
    try:
        return await authenticated.actor(Request(scope))
    except Refusal:
        return None


def _seconds_left(window: WindowStats) -> int:
    return max(1, math.ceil(window.reset_time - time.time()))


def _headers(quota: RateLimitItemPerSecond, window: WindowStats) -> Headers:
    name = f'"{quota.namespace}"'
    return {
        "RateLimit-Policy": f"{name};q={quota.amount};w={WINDOW_SECONDS}",
        "RateLimit": f"{name};r={window.remaining};t={_seconds_left(window)}",
    }


def _with_headers(send: Send, headers: Headers) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return sending


def _too_many(scope: Scope, quota: RateLimitItemPerSecond, headers: Headers, seconds: int) -> Response:
    return problem(
        scope,
        429,
        "too-many-requests",
        "Too many requests",
        f"At most {quota.amount} requests are taken in {WINDOW_SECONDS} seconds; go on in {seconds} seconds.",
        headers={**headers, "Retry-After": str(seconds)},
    )
