"""HTTP clients that cost little: `python -m benchmarks.clients`, told on standard input what to ask, for how long.

Each keep-alive connection sends one request, reads its answer, and sends the next. An answer that is not the expected
one ends the measurement: a fast refusal is no result.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from itertools import count, repeat
from typing import NamedTuple, cast

import orjson
import uvloop

from benchmarks.children import child

CONNECTIONS = 32
WARM_UP = 1.0
PATIENCE = 30.0
"""Seconds that an answer may take beyond the time that is measured."""
NUMBER = b"@@@@@@@@@@@@"
"""In a request's body this is replaced by the request's number, twelve digits."""


class Answered(NamedTuple):
    """What the clients saw: requests in the measured time, and all of them with those of the warm-up."""

    events: int
    seconds: float
    total: int


class Tally:
    """Counts what is done for so many seconds after the warm-up, and all that is done."""

    def __init__(self, warm_up: float, seconds: float) -> None:
        self._begin = time.perf_counter() + warm_up
        self._end = self._begin + seconds
        self._seconds = seconds
        self._measured = self._total = 0

    def done(self) -> bool:
        """Count one more; whether there is time for another."""
        now = time.perf_counter()
        self._total += 1
        self._measured += self._begin <= now < self._end
        return now < self._end

    def answered(self) -> Answered:
        return Answered(self._measured, self._seconds, self._total)


def numbered(request: bytes) -> Iterator[bytes]:
    """The request over and over, under another number each time if it has a place for one."""
    if NUMBER not in request:
        return repeat(request)
    first = time.time_ns() // 1000 % 10**11 * 10
    return (request.replace(NUMBER, b"%012d" % number) for number in count(first + 1))


class _Connection(asyncio.Protocol):
    def __init__(self, crowd: "_Crowd") -> None:
        self._crowd = crowd
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own class is no subclass
        self._transport.write(self._crowd.next_request())

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data
        head, separator, body = answer.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return
        self._answer = b""
        if self._crowd.take(answer):
            self._transport.write(self._crowd.next_request())
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the server's reasons are in its log
        self._crowd.left()


def _content_length(head: bytes) -> int:
    _, _, after = head.lower().partition(b"content-length: ")
    return int(after.partition(b"\r\n")[0])


class _Crowd:
    """All connections together."""

    def __init__(self, request: bytes, status: int, warm_up: float, seconds: float) -> None:
        self._requests = numbered(request)
        self._expected = f"HTTP/1.1 {status} ".encode()
        self.tally = Tally(warm_up, seconds)
        self.refusal: bytes | None = None
        self.connections = 0
        self.all_left = asyncio.Event()

    def next_request(self) -> bytes:
        return next(self._requests)

    def take(self, answer: bytes) -> bool:
        """Whether to go on after this answer."""
        if not answer.startswith(self._expected):
            self.refusal = answer
            return False
        return self.tally.done()

    def left(self) -> None:
        self.connections -= 1
        if not self.connections:
            self.all_left.set()


def request(method: str, path: str, token: str = "", body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}{content}\r\n".encode() + body


async def ask(
    port: int, wanted: bytes, *, status: int, seconds: float, warm_up: float = WARM_UP, connections: int = CONNECTIONS
) -> Answered:
    """Have a process of its own send the request over and over. Raises RuntimeError at the first other answer."""
    task = orjson.dumps([port, wanted.decode(), status, warm_up, seconds, connections])
    async with child("benchmarks.clients") as process:
        async with asyncio.timeout(warm_up + seconds + PATIENCE):
            output, _ = await process.communicate(task)
    if process.returncode:
        raise RuntimeError(f"the clients stopped: {output.decode(errors='replace')[:500]}")
    return Answered(*orjson.loads(output))


async def _run(port: int, wanted: bytes, status: int, warm_up: float, seconds: float, connections: int) -> _Crowd:
    crowd = _Crowd(wanted, status, warm_up, seconds)
    crowd.connections = connections
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(crowd), "127.0.0.1", port)
    await crowd.all_left.wait()
    return crowd


def main() -> int:
    port, wanted, status, warm_up, seconds, connections = orjson.loads(sys.stdin.buffer.read())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        crowd = runner.run(_run(port, wanted.encode(), status, warm_up, seconds, connections))
    if crowd.refusal is not None:
        sys.stdout.write(crowd.refusal.decode(errors="replace"))
        return 1
    sys.stdout.buffer.write(orjson.dumps(tuple(crowd.tally.answered())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
