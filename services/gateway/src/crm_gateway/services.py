"""The services behind the gateway: which owns what, and how a request reaches it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from crm_platform.errors import Unavailable
from crm_platform.logging import get_logger

OWNERS: Mapping[str, str] = {
    "contacts": "contacts",
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

    def __init__(self, urls: Mapping[str, str], within_seconds: float = ANSWER_WITHIN_SECONDS) -> None:
        self._urls = {name: url.rstrip("/") for name, url in urls.items()}
        self._within_seconds = within_seconds
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
        """The service's answer, whatever it says. Raises Unavailable if it gives none in time."""
        url = URL(self._urls[service] + request.target, encoded=True)
        try:
            async with self._connections().request(
                request.method,
                url,
                headers=request.headers,
                data=request.body or None,
                allow_redirects=False,
                skip_auto_headers=("content-type", "accept", "user-agent"),
                timeout=aiohttp.ClientTimeout(total=within_seconds or self._within_seconds),
            ) as answer:
                return ServiceAnswer(answer.status, answer.headers, await answer.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:
            log.warning("a service does not answer", service_asked=service, err_type=type(failure).__name__)
            raise Unavailable(f"The {service} service does not answer now; try again.") from failure

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS, keepalive_timeout=IDLE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session
