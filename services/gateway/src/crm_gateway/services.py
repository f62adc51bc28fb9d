"""The services behind the gateway: which owns what, and how a request reaches it."""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic

import aiohttp
from yarl import URL

from crm_gateway.breaker import Breaker, BreakerOpenError
from crm_platform.errors import Unavailable
from crm_platform.logging import get_logger
from crm_platform.metrics import REQUESTS_SHED

OWNERS: Mapping[str, str] = {
    "contacts": "contacts",
    "erasures": "contacts",
    "leads": "sales",
    "opportunities": "sales",
    "tickets": "service",
    "campaigns": "marketing",
    "kpis": "analytics",
}
"""Each resource under /api that a service owns, and that service's name."""

ANSWER_WITHIN_SECONDS = 10.0
IDLE_SECONDS = 30.0
"""Connections are kept this long: less than the services keep theirs, so that no request meets a closing one."""
CONNECTIONS = 100
"""At most this many to one service: a slow one does not use up what the others need."""
MOST_IN_WORK = 128
"""So many requests may wait for one service; more are refused at once, so that there is room for the other services."""
BACK_WITHIN_SECONDS = 1.0
"""How soon a service that was left alone must say that it lives."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """`target` is path and query as they came in, still encoded."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Services:
    """Kept-alive connections to every service, for the running event loop."""

    name = "services"
    ready = True
    alive = True

    def __init__(
        self,
        urls: Mapping[str, str],
        within_seconds: float = ANSWER_WITHIN_SECONDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._urls = {name: url.rstrip("/") for name, url in urls.items()}
        self._within_seconds = within_seconds
        self._breakers = {name: Breaker(partial(self._lives, name), clock) for name in self._urls}
        self._in_work = dict.fromkeys(self._urls, 0)
        self._session: aiohttp.ClientSession | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._urls)

    async def run(self) -> None:
        """Hold the connections until cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, service: str, request: ServiceRequest, within_seconds: float | None = None) -> ServiceAnswer:
        """The service's answer, whatever it says.

        Raises Unavailable if it gives none in time, gave none to those before, or has too many requests to answer.
        """
        breaker = self._breakers[service]
        with self._counted(service):
            await self._admit(service, breaker)
            try:
                answer = await self._ask(service, request, within_seconds or self._within_seconds)
            except (aiohttp.ClientError, OSError, TimeoutError) as failure:
                breaker.failed()
                log.warning("a service does not answer", service_asked=service, err_type=type(failure).__name__)
                raise Unavailable(f"The {service} service does not answer now; try again.") from failure
            breaker.answered()
            return answer

    @contextmanager
    def _counted(self, service: str) -> Iterator[None]:
        if self._in_work[service] >= MOST_IN_WORK:
            REQUESTS_SHED.labels("busy").inc()
            raise Unavailable(f"Too many requests wait for the {service} service; try again in a moment.")
        self._in_work[service] += 1
        try:
            yield
        finally:
            self._in_work[service] -= 1

    async def _admit(self, service: str, breaker: Breaker) -> None:
        try:
            await breaker.admit()
        except BreakerOpenError as left_alone:
            REQUESTS_SHED.labels("breaker").inc()
            refusal = Unavailable(f"The {service} service does not answer now; try again.")
            refusal.retry_after = max(1, math.ceil(left_alone.seconds))
            raise refusal from left_alone

    async def _lives(self, service: str) -> bool:
        """Whether the service answers at all."""
        try:
            await self._ask(service, ServiceRequest("GET", "/livez", {}, b""), BACK_WITHIN_SECONDS)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        return True

    async def _ask(self, service: str, request: ServiceRequest, within_seconds: float) -> ServiceAnswer:
        async with self._connections().request(
            request.method,
            URL(self._urls[service] + request.target, encoded=True),
            headers=request.headers,
            data=request.body or None,
            allow_redirects=False,
            skip_auto_headers=("content-type", "accept", "user-agent"),
            timeout=aiohttp.ClientTimeout(total=within_seconds),
        ) as answer:
            return ServiceAnswer(answer.status, answer.headers, await answer.read())

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS, keepalive_timeout=IDLE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session
