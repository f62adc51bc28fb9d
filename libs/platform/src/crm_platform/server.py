"""Serving the application: uvicorn on uvloop, with an orderly end."""

import asyncio
import contextlib
import signal
import sys
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

log = get_logger("crm_platform.server")


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run the process's main coroutine on uvloop."""
    # Beside the loop, the writer thread waits for the database many times a commit; each time it would wait up to the
    # default 5 ms for the interpreter.
    sys.setswitchinterval(0.0005)
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
    ends it without waiting. Raises SystemExit if the application cannot start or the port is taken.
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
        asyncio.get_running_loop().call_later(self._drain_seconds, self._exit)

    def _exit(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            self._on_ready(self.servers[0].sockets[0].getsockname()[1])
