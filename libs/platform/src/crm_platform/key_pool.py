"""Subject keys published ahead of need (docs/adr/0005).

A key goes to crm.keys, wrapped, and is acknowledged before anybody is given it; so no event is ever stored under a key
that could be lost.
"""

import asyncio
from collections import deque
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress

from aiokafka import AIOKafkaProducer

from crm_events.topics import KEYS
from crm_platform import kafka
from crm_platform.backoff import Backoff
from crm_platform.errors import Unavailable
from crm_platform.key_records import key_record
from crm_platform.logging import get_logger
from crm_platform.sealing import InstallationKey, SubjectKey

READY_KEYS = 512
TAKE_SECONDS = 4.0

log = get_logger(__name__)


class KafkaKeyPool:
    """Keeps some hundred published keys at hand; `take` is called in the writer thread, `run` lives on the loop."""

    name = "key-pool"
    alive = True

    def __init__(self, bootstrap: str, installation: InstallationKey, owner: str) -> None:
        self._bootstrap = bootstrap
        self._installation = installation
        self._owner = owner
        self._ready: deque[SubjectKey] = deque()
        self._wanted = 0
        self._changed = asyncio.Event()
        self._filled = asyncio.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connected = False

    @property
    def ready(self) -> bool:
        return bool(self._ready)

    async def run(self) -> None:
        """Fill the pool for ever; a broker that is away is waited for."""
        self._loop = asyncio.get_running_loop()
        backoff = Backoff(most=2.0)
        while True:
            try:
                async with kafka.producer(self._bootstrap) as producer:
                    while True:
                        await self._fill(producer)
                        self._connected = True
                        backoff.succeeded()
                        await self._changed.wait()
                        self._changed.clear()
            except kafka.TRANSIENT as failure:
                self._connected = False
                log.warning("keys_not_published", exc_info=failure)
                await backoff.wait()

    async def _fill(self, producer: AIOKafkaProducer) -> None:
        while (missing := max(READY_KEYS, self._wanted) - len(self._ready)) > 0:
            keys = [SubjectKey.generate() for _ in range(missing)]
            await asyncio.gather(*await kafka.send_in_batches(producer, KEYS.name, map(self._record, keys)))
            self._ready.extend(keys)
        async with self._filled:
            self._filled.notify_all()

    def _record(self, key: SubjectKey) -> kafka.Outgoing:
        return key_record(key.id, self._owner, self._installation.wrap(key))

    def take(self, count: int) -> list[SubjectKey]:
        """See `KeyPool`. Called outside the loop's thread."""
        taken = self._pop(count)
        if self._loop is None:
            raise Unavailable("The service is not ready to seal personal data yet.")
        if len(taken) < count and not self._connected:
            self._ready.extend(taken)
            raise Unavailable("No key for new personal data can be published now: Kafka is away.")
        if len(taken) < count:
            waiting = asyncio.run_coroutine_threadsafe(self._wait_for(count - len(taken)), self._loop)
            try:
                waiting.result(TAKE_SECONDS)
            except (FutureTimeoutError, TimeoutError) as late:
                waiting.cancel()
                self._connected = False
                self._ready.extend(taken)
                raise Unavailable("No key for new personal data can be published: Kafka does not answer.") from late
            taken += self._pop(count - len(taken))
        # Many at a time: a request to the broker for the few keys of each commit would cost more than the commit.
        if len(self._ready) <= READY_KEYS // 2:
            self._loop.call_soon_threadsafe(self._changed.set)
        return taken

    def _pop(self, count: int) -> list[SubjectKey]:
        taken: list[SubjectKey] = []
        with suppress(IndexError):
            while len(taken) < count:
                taken.append(self._ready.popleft())
        return taken

    async def _wait_for(self, count: int) -> None:
        self._wanted = count
        self._changed.set()
        async with self._filled:
            await self._filled.wait_for(lambda: len(self._ready) >= count)
        self._wanted = 0
