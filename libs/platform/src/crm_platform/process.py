"""A service process: it connects, starts, watches and stops its parts, in order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from crm_platform import mongo
from crm_platform.event_store.store import CommandStore
from crm_platform.health import Condition, Health
from crm_platform.http import parked
from crm_platform.http.app import create_app
from crm_platform.logging import get_logger
from crm_platform.parts import Parts
from crm_platform.runner import Runner, run_for_ever
from crm_platform.server import serve

if TYPE_CHECKING:
    from crm_platform.service import Service

RUNNERS_STOP_SECONDS = 9.0
"""Longer than a runner takes to finish its batch and to leave Kafka, also where Kafka does not answer."""

log = get_logger(__name__)


class Process:
    """One service in one role: it `answers` HTTP, `works` on what comes in, or both."""

    def __init__(self, service: "Service", *, answers: bool, works: bool) -> None:
        self._service = service
        self._settings = service.settings
        self._answers = answers
        self._works = works
        self._health = Health()
        self._connected = Condition("connections")
        self._health.add(self._connected)

    async def run(self) -> None:
        app = create_app(
            self._service.name,
            self._settings,
            (*self._service.routers, parked.router) if self._answers else (),
            self._health,
            lifespan=self._lifespan,
            middleware=self._service.middleware if self._answers else (),
        )
        await serve(
            app,
            self._settings.host,
            self._settings.port,
            health=self._health,
            drain_seconds=self._settings.drain_seconds,
            shutdown_seconds=self._settings.shutdown_seconds,
        )

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Probes answer at once; what the process needs is connected behind them, however long that takes."""
        starting = asyncio.create_task(self._start(app), name="start")
        try:
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)

    async def _start(self, app: FastAPI) -> None:
        """Connect and run the parts until cancelled. One that fails for good ends them all, and liveness tells.

        They end in order: what reads finishes its batch while it can still be stored and sealed, then the rest.
        """
        client = mongo.connect(self._settings.mongodb_uri.get_secret_value())
        parts = Parts(self._service, client)
        try:
            async with asyncio.TaskGroup() as tasks:
                app.state.read_models = parts.read_models
                app.state.parking_lots = parts.parking_lots
                if self._service.events is not None:
                    store = await parts.open_event_store(self._service.events)
                    app.state.store = store
                    app.state.purges = parts.purges
                    self._health.add(_StoreHealth(store))
                readers = parts.readers() if self._works else []
                others = parts.others(answers=self._answers, works=self._works)
                running = [[self._run(runner, tasks) for runner in stage] for stage in (others, readers)]
                self._connected.ready = True
                log.info("started", parts=[runner.name for runner in (*others, *readers)])
                try:
                    await asyncio.Event().wait()
                finally:
                    for stage in reversed(running):
                        await _ended(stage)
        except* Exception as group:
            self._connected.alive = False
            log.error("part_failed", exc_info=group.exceptions[0])
        finally:
            await parts.close()
            client.close()

    def _run(self, runner: Runner, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        self._health.add(runner)
        return tasks.create_task(run_for_ever(runner), name=runner.name)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel these tasks and wait until they have ended; one that takes too long is left to those who come after."""
    for task in tasks:
        task.cancel()
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=RUNNERS_STOP_SECONDS)
        if late:
            log.warning("stopping_late", parts=[task.get_name() for task in late])


class _StoreHealth:
    name = "event-store-writer"
    ready = True

    def __init__(self, store: CommandStore) -> None:
        self._store = store

    @property
    def alive(self) -> bool:
        return self._store.alive
