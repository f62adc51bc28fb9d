"""More requests than can be worked on are refused at once; a process that stops sends its clients elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest_asyncio
import uvicorn
from fastapi import APIRouter
from prometheus_client import REGISTRY

from crm_platform.health import Health
from crm_platform.http.app import create_app
from crm_platform.settings import ServiceSettings

AT_ONCE = 10


class Desk:
    """A server whose requests are answered when it is opened."""

    def __init__(self) -> None:
        self.health = Health()
        self.opened = asyncio.Event()
        self.url = ""

    def router(self) -> APIRouter:
        router = APIRouter()

        @router.get("/wait")
        async def wait() -> str:
            await self.opened.wait()
            return "served"

        return router


@pytest_asyncio.fixture
async def desk(environment: dict[str, str]) -> AsyncIterator[Desk]:  # noqa: ARG001 - set
    desk = Desk()
    app = create_app("test", ServiceSettings(requests_in_work=AT_ONCE), (desk.router(),), desk.health)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    desk.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield desk
    desk.opened.set()
    server.should_exit = True
    await serving


@pytest_asyncio.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def ask(client: aiohttp.ClientSession, url: str) -> tuple[int, Any, Any]:
    async with client.get(url) as answer:
        return answer.status, answer.headers, await answer.json(content_type=None)


async def test_beyond_the_bound_requests_are_refused_at_once_and_the_others_are_answered(
    desk: Desk, client: aiohttp.ClientSession
) -> None:
    before = REGISTRY.get_sample_value("crm_requests_shed_total", {"reason": "busy"}) or 0.0
    asked = [asyncio.create_task(ask(client, desk.url + "/wait")) for _ in range(5 * AT_ONCE)]
    refused, waiting = set[asyncio.Task[tuple[int, Any, Any]]](), set(asked)
    async with asyncio.timeout(10):
        while len(refused) < 4 * AT_ONCE:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused |= done

    for status, headers, problem in (task.result() for task in refused):
        assert (status, problem["status"], problem["type"]) == (503, 503, "urn:crm:problem:unavailable")
        assert headers["Content-Type"] == "application/problem+json"
        assert int(headers["Retry-After"]) >= 1
        assert headers["X-Request-ID"] == problem["request_id"]
    assert REGISTRY.get_sample_value("crm_requests_shed_total", {"reason": "busy"}) == before + 4 * AT_ONCE
    assert (await ask(client, desk.url + "/livez"))[0] == 200, "probes pass"

    desk.opened.set()
    assert [(await task)[0] for task in waiting] == [200] * AT_ONCE
    assert (await ask(client, desk.url + "/wait"))[0] == 200


async def test_while_it_stops_each_answer_closes_its_connection(desk: Desk, client: aiohttp.ClientSession) -> None:
    desk.opened.set()
    assert "Connection" not in (await ask(client, desk.url + "/wait"))[1]

    desk.health.stopping = True

    status, headers, _ = await ask(client, desk.url + "/wait")
    assert (status, headers["Connection"]) == (200, "close")
