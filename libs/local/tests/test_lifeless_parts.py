"""A service that runs and shows no life is started again, as Kubernetes would."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from libs.platform.tests.waiting import eventually

from crm_local.folder import StateFolder
from crm_local.plan import PORT_NAMES, Plan
from crm_local.ports import assign_ports
from crm_local.process import Launch, ProcessIdentity
from crm_local.services import Service, Surroundings
from crm_local.state import PartState, Phase, StackRecord
from crm_local.supervisor import Supervisor

PROGRAM = """
import asyncio, sys, time
from aiohttp import web

alive = True

async def livez(_):
    return web.Response(status=200 if alive else 503)

async def readyz(_):
    return web.Response()

async def block(_):
    time.sleep(600)

async def despair(_):
    global alive
    alive = False
    return web.Response()

app = web.Application()
app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/block", block),
                web.get("/despair", despair)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
PlanOf = Callable[..., Plan]
Until = Callable[[Callable[[StackRecord], bool]], Awaitable[StackRecord]]


class SmallService(Service):
    """A service like any other, but for the program that it runs."""

    alive_every = 0.2
    answers_within = 0.5

    def __init__(self, name: str, surroundings: Surroundings) -> None:
        super().__init__(name, surroundings)
        self._port = surroundings.ports[name]
        self.looks: list[bool] = []
        """At each look whether it showed no life."""

    def launch(self) -> Launch:
        usual = super().launch()
        return Launch(
            argv=(sys.executable, "-c", PROGRAM, str(self._port)), working_folder=usual.working_folder, stop_within=0.5
        )

    async def is_stuck(self) -> bool:
        self.looks.append(await super().is_stuck())
        return self.looks[-1]


@pytest.fixture
def sales(folder: StateFolder) -> SmallService:
    ports = assign_ports(folder.ports, PORT_NAMES, 0)
    return SmallService("sales", Surroundings(folder, "", "", {}, ports))


@asynccontextmanager
async def supervised(plan: Plan) -> AsyncIterator[Until]:
    records: asyncio.Queue[StackRecord] = asyncio.Queue()
    supervisor = Supervisor(plan, lambda record: records.put_nowait(record.model_copy(deep=True)))
    task = asyncio.create_task(supervisor.run())

    async def until(condition: Callable[[StackRecord], bool]) -> StackRecord:
        async with asyncio.timeout(30):
            while not condition(record := await records.get()):
                pass
        return record

    try:
        yield until
    finally:
        supervisor.request_stop()
        await task


def running(record: StackRecord) -> ProcessIdentity:
    process = record.parts["sales"].process
    assert process is not None
    return process


@pytest.mark.parametrize("fate", ["frozen", "blocked", "says so"])
async def test_a_service_without_life_is_started_again(sales: SmallService, plan_of: PlanOf, fate: str) -> None:
    async with supervised(plan_of(services=(sales,))) as until:
        first = running(await until(lambda record: record.phase is Phase.RUNNING))
        if fate == "frozen":
            os.kill(first.pid, signal.SIGSTOP)
        else:
            _, writer = await asyncio.open_connection(*sales.address.removeprefix("http://").split(":"))
            writer.write(f"GET /{'block' if fate == 'blocked' else 'despair'} HTTP/1.0\r\n\r\n".encode())
            await writer.drain()

        gone = await until(lambda record: record.parts["sales"].state is PartState.RESTARTING)
        back = await until(lambda record: record.parts["sales"].state is PartState.READY)

        assert "showed no life" in gone.parts["sales"].note
        assert running(back) != first
        assert first.find() is None


async def test_a_service_that_was_silent_for_a_moment_is_left_alone(sales: SmallService, plan_of: PlanOf) -> None:
    async with supervised(plan_of(services=(sales,))) as until:
        first = running(await until(lambda record: record.phase is Phase.RUNNING))
        os.kill(first.pid, signal.SIGSTOP)
        await eventually(lambda: True in sales.looks)
        os.kill(first.pid, signal.SIGCONT)
        await eventually(lambda: sales.looks[-3:] == [False] * 3)
        assert first.find() is not None
