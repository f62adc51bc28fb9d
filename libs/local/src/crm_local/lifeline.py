"""A supervisor that lives only as long as the program that started it: both hold an end of one pipe."""

import asyncio
import sys
from collections.abc import Callable


async def when_stdin_closes(then: Callable[[], None]) -> asyncio.ReadTransport:
    """Calls `then` once standard input is at its end, which is when the program at the other end is gone."""

    class _UntilTheEnd(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it ended
            then()

    transport, _ = await asyncio.get_running_loop().connect_read_pipe(_UntilTheEnd, sys.stdin)
    return transport
