"""Connections to Kafka that subscribers share: each is lent for one question, outside every consumer group."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from crm_platform import kafka
from crm_platform.errors import Unavailable
from crm_platform.logging import get_logger

READERS = 4
LENT_WITHIN_SECONDS = 5.0
ANSWERS_WITHIN_MS = 3_000
SETTINGS = {"fetch_max_wait_ms": 100, "max_partition_fetch_bytes": 256 * 1024, "fetch_max_bytes": 2 * 1024 * 1024}
"""A fetch at a topic's end comes back soon, for the connection is wanted by others; none fills the memory."""

Offsets = Mapping[TopicPartition, int]

log = get_logger(__name__)


class Run(NamedTuple):
    """Records of a partition without a hole, and the offset behind them."""

    records: Sequence[ConsumerRecord]
    next_offset: int


class LogReader:
    """One connection. What it was asked for last is kept at hand, so that reading on is faster."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._open = AsyncExitStack()
        self._client: AIOKafkaConsumer | None = None
        self._at: dict[TopicPartition, int] = {}

    async def client(self) -> AIOKafkaConsumer:
        """The connection, for questions about offsets."""
        if self._client is None:
            self._client = await self._open.enter_async_context(kafka.reader(self._bootstrap, **SETTINGS))
        return self._client

    async def close(self) -> None:
        self._at, self._client = {}, None
        await self._open.aclose()

    async def fetch(self, wanted: Offsets, most: int) -> dict[TopicPartition, Run]:
        """What stands at these offsets, at most so many records of each partition; not all of them need have any.

        Raises OffsetOutOfRangeError, and TimeoutError where nothing comes.
        """
        client = await self.client()
        if any(self._at.get(place) != offset for place, offset in wanted.items()):
            client.assign(list(wanted))
            for place, offset in wanted.items():
                client.seek(place, offset)
        self._at = {}
        found = await client.getmany(*wanted, timeout_ms=ANSWERS_WITHIN_MS, max_records=most)
        for place in wanted.keys() - found.keys():
            found |= await client.getmany(place, timeout_ms=0, max_records=most)
        at = {place: await client.position(place) for place in wanted}
        runs = {place: Run(found.get(place, ()), at[place]) for place in wanted if at[place] > wanted[place]}
        if not runs:
            raise TimeoutError("no record came")
        self._at = at
        return runs


class LogReaders:
    """READERS connections, made when they are first needed."""

    def __init__(self, bootstrap: str) -> None:
        self._all = [LogReader(bootstrap) for _ in range(READERS)]
        # The one given back last is lent first: it is connected, and may hold what comes next.
        self._free: asyncio.LifoQueue[LogReader] = asyncio.LifoQueue()
        for reader in self._all:
            self._free.put_nowait(reader)

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[LogReader]:
        """A connection for one question. Raises Unavailable where none is free in time, or Kafka does not answer."""
        try:
            async with asyncio.timeout(LENT_WITHIN_SECONDS):
                reader = await self._free.get()
        except TimeoutError:
            raise Unavailable("Too many subscribers read the past now; try again in a moment.") from None
        try:
            yield reader
        except OffsetOutOfRangeError:
            raise
        except kafka.TRANSIENT as away:
            log.warning("subscribers_cannot_read", err_type=type(away).__name__)
            await reader.close()
            raise Unavailable("The events cannot be read from Kafka now; try again in a moment.") from away
        finally:
            self._free.put_nowait(reader)

    async def close(self) -> None:
        for reader in self._all:
            await reader.close()
