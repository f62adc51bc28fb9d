"""A process that is told to stop says so, finishes what it began, and ends with 0."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest_asyncio

PROGRAM = """
import asyncio, sys, time
from fastapi import APIRouter
from crm_platform import server
from crm_platform.health import Health
from crm_platform.http.app import create_app
from crm_platform.logging import configure_logging
from crm_platform.server import run, serve
from crm_platform.settings import ServiceSettings

router, begun, told = APIRouter(), asyncio.Event(), asyncio.Event()

@router.get("/slow")
async def slow() -> str:
    begun.set()
    await told.wait()
    return "done"

@router.get("/begun")
async def has_begun() -> None:
    await begun.wait()

@router.get("/finish")
async def finish() -> None:
    told.set()

@router.get("/stick")
async def stick() -> None:
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)

server.END_SECONDS = 1.0
configure_logging("test", "0")
health = Health()
app = create_app("test", ServiceSettings(), (router,), health)
run(serve(app, "127.0.0.1", 0, health=health, drain_seconds=float(sys.argv[1]), shutdown_seconds=int(sys.argv[2]),
          on_ready=lambda port: print("port", port, flush=True)))
"""


class Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""

    async def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.startswith(b"port "):
                self.url = f"http://127.0.0.1:{int(line[5:])}"
                return
        raise AssertionError("the server ended before it was ready")


async def start(drain_seconds: float, shutdown_seconds: int) -> Process:
    arguments = ("-c", PROGRAM, str(drain_seconds), str(shutdown_seconds))
    process = Process(await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE))
    async with asyncio.timeout(60):
        await process.wait_until_ready()
    return process


@pytest_asyncio.fixture
async def client(environment: dict[str, str]) -> AsyncIterator[aiohttp.ClientSession]:  # noqa: ARG001 - set
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


async def body(client: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with client.get(url) as answer:
        return answer.status, json.loads(await answer.read() or b"null")


async def test_it_says_that_it_stops_finishes_what_it_began_and_ends_with_0(client: aiohttp.ClientSession) -> None:
    server = await start(1.0, 20)
    slow = asyncio.create_task(body(client, server.url + "/slow"))
    await body(client, server.url + "/begun")
    server.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        while (await body(client, server.url + "/readyz"))[0] == 200:  # noqa: ASYNC110 - a signal has no event to await
            await asyncio.sleep(0)
    status, problem = await body(client, server.url + "/readyz")
    assert (status, problem["parts"]) == (503, ["stopping"])
    assert (await body(client, server.url + "/livez"))[0] == 200
    await body(client, server.url + "/finish")
    assert await slow == (200, "done")
    assert await asyncio.wait_for(server.process.wait(), 20) == 0


async def test_a_request_without_end_does_not_keep_it(client: aiohttp.ClientSession) -> None:
    server = await start(0.0, 1)
    slow = asyncio.create_task(body(client, server.url + "/slow"))
    await body(client, server.url + "/begun")
    server.process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(server.process.wait(), 20) == 0
    await asyncio.wait([slow])
    assert slow.exception() is not None or slow.result()[0] >= 500


async def test_a_thread_that_waits_for_ever_does_not_keep_it(client: aiohttp.ClientSession) -> None:
    server = await start(0.0, 1)
    await body(client, server.url + "/stick")
    server.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(server.process.wait(), 20) == 1
