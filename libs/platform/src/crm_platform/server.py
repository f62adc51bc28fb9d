"""Serving the application: uvicorn on uvloop, with an orderly end."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp

from crm_platform.health import Condition, Health, Part
from crm_platform.logging import get_logger

__all__ = ["Condition", "Health", "Part", "run", "serve"]

# Longer than the clients of this platform keep an idle connection, so that no request meets a closing one.
KEEP_ALIVE_SECONDS = 75

END_SECONDS = 20.0
"""How long a process may take, once the last request is answered, to finish its batches and its writes."""

log = get_logger("crm_platform.server")


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run the process's main coroutine on uvloop."""
    # Beside the loop, the writer thread waits for the database many times a commit; each time it would wait up to the
    # default 5 ms for the interpreter. Handing over more often costs more than it gains: with 0.5 ms a command takes a
    # seventh more of the processor.
    sys.setswitchinterval(0.002)
    # A batch's thousands of events live until it is written: looking through them for cycles again and again, as the
    # defaults do, costs a third of the time that reading them takes, and finds none.
    gc.set_threshold(50_000, 20, 100)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    health: Health,
    on_ready: Callable[[int], None] | None = None,
    drain_seconds: float = 0.0,
    shutdown_seconds: int = 10,
) -> None:
    """Serve until SIGTERM or SIGINT, then return.

    `on_ready` is called with the bound port once requests are answered. When told to stop, /readyz says so at once;
    requests are served for another `drain_seconds`, and those in flight then have `shutdown_seconds`. A second signal
    ends it without waiting. A process that has not ended END_SECONDS later, since a database does not answer it, ends
    at once with 1: nothing that it could still do would count. Raises SystemExit if the application cannot start or the
    port is taken.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=shutdown_seconds,
    )
    server = _Server(config, health, drain_seconds, on_ready)
    await server.serve()


class _Server(uvicorn.Server):
    """uvicorn's server; a signal ends it with exit code 0, after the load balancer had its time to notice."""

    def __init__(
        self, config: uvicorn.Config, health: Health, drain_seconds: float, on_ready: Callable[[int], None] | None
    ) -> None:
        super().__init__(config)
        self._health = health
        self._drain_seconds = drain_seconds
        self._end_seconds = drain_seconds + (config.timeout_graceful_shutdown or 0) + END_SECONDS
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for each in signals:
            loop.add_signal_handler(each, self._stop, each)
        try:
            yield
        finally:
            for each in signals:
                loop.remove_signal_handler(each)

    def _stop(self, received: signal.Signals) -> None:
        if self._health.stopping:
            self.force_exit = self.should_exit = True
            return
        log.info("stopping", signal=received.name, drain_seconds=self._drain_seconds)
        self._health.stopping = True
        _end_after(self._end_seconds)
        asyncio.get_running_loop().call_later(self._drain_seconds, self._exit)

    def _exit(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            self._on_ready(self.servers[0].sockets[0].getsockname()[1])


def _end_after(seconds: float) -> None:
    """End the process then, even if a thread of it waits for a database for ever: the interpreter would wait for it."""

    def end() -> None:
        log.error("stopped_without_waiting", after_seconds=seconds)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
