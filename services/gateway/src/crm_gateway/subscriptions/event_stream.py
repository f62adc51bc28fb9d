"""Server-sent events (WHATWG HTML, 9.2): an answer that goes on for as long as the client listens."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from crm_gateway.subscriptions.subscription import Shown, Subscription
from crm_platform import mongo
from crm_platform.errors import Refusal, Unavailable
from crm_platform.logging import get_logger

BATCH = 100
CHUNK_BYTES = 64 * 1024
HEARTBEAT_SECONDS = 15.0
LOOK_SECONDS = 0.5
"""So soon a stream notices that the process was told to stop."""
STALLED_SECONDS = 60.0
STOPS_WITHIN_SECONDS = 2.0
"""A client that takes nothing for so long is let go; sooner once the process is to stop."""
RETRY_MS = 1_000
RETRY_AFTER_STOP_MS = (500, 3_000)
"""Those who listened to a process that stops come back spread over this time."""
HEARTBEAT = b":\n\n"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listener:
    """What a stream has to know of whoever listens, and of the process.

    `may_go_on` raises Refusal once the token gives no right any more; `left` is called when the stream has ended.
    """

    may_go_on: Callable[[], Awaitable[object]]
    stopping: Callable[[], bool]
    left: Callable[[], None]


class EventStream(StreamingResponse):
    """The events of a subscription, each with its cursor as id. It reads only as fast as the client takes them."""

    media_type = "text/event-stream"

    def __init__(self, subscription: Subscription, first: list[Shown], listener: Listener) -> None:
        super().__init__(_stream(subscription, first, listener), headers=HEADERS)
        self._listener = listener
        self._sending_since: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            self._sending_since = monotonic()
            await send(message)
            self._sending_since = None

        streaming = asyncio.create_task(super().__call__(scope, receive, sending))
        try:
            while not streaming.done():
                await asyncio.wait({streaming}, timeout=LOOK_SECONDS)
                if self._stalls():
                    streaming.cancel()
            if not streaming.cancelled():
                streaming.result()
        finally:
            streaming.cancel()
            self._listener.left()

    def _stalls(self) -> bool:
        patience = STOPS_WITHIN_SECONDS if self._listener.stopping() else STALLED_SECONDS
        return self._sending_since is not None and monotonic() - self._sending_since > patience


async def _stream(subscription: Subscription, shown: list[Shown], listener: Listener) -> AsyncIterator[bytes]:
    yield _retry(RETRY_MS)
    beat = monotonic()
    while not listener.stopping():
        for chunk in _chunks(shown):
            yield chunk
        if monotonic() - beat > HEARTBEAT_SECONDS:
            beat = monotonic()
            yield HEARTBEAT
            if not await _may_go_on(listener):
                return
        try:
            if not shown:
                await subscription.wait(LOOK_SECONDS)
            shown = await subscription.next(BATCH)
        except (Unavailable, mongo.MongoError) as away:
            log.warning("stream_waits", err_type=type(away).__name__)
            shown = []
            await asyncio.sleep(LOOK_SECONDS)
        except Refusal:
            return  # whoever comes back is told why, with a status
    yield _retry(random.randint(*RETRY_AFTER_STOP_MS))  # noqa: S311 - to spread them is no secret


async def _may_go_on(listener: Listener) -> bool:
    """Whether the token still gives the right; while that cannot be told, it does."""
    try:
        await listener.may_go_on()
    except Unavailable:
        return True
    except Refusal:
        return False
    return True


def _retry(milliseconds: int) -> bytes:
    return b"retry: %d\n\n" % milliseconds


def _chunks(events: Iterable[Shown]) -> Iterator[bytes]:
    """What is sent at once."""
    chunk = bytearray()
    for event in events:
        data = b" ".join(event.document.splitlines())  # a line end in JSON is white space
        chunk += b"id: %s\nevent: %s\ndata: %s\n\n" % (event.cursor.encode(), event.type_name.encode(), data)
        if len(chunk) > CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)
