"""A generation is filled in several lanes at once, each with partitions of its own, as the members of a group would.

A batch spends most of its time waiting for the database, so one lane alone leaves the processors to whatever else runs:
beside a busy platform it would fall behind what comes in.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiokafka import TopicPartition

from crm_platform import kafka, mongo
from crm_platform.generations import Generation
from crm_platform.inbound import RecordReader
from crm_platform.mongo_transactions import Transactions
from crm_platform.projection import Projection
from crm_platform.projection_store import ProjectionStore
from crm_platform.rebuild.filler import Filled, Filler, Offsets

LANES = 2


class Lanes:
    """The fillers of one generation, as if they were one."""

    def __init__(self, fillers: list[Filler]) -> None:
        self._fillers = fillers

    async def start(self) -> None:
        """Go to where the generation stands. Raises KafkaError and MongoError."""
        await _all(filler.start() for filler in self._fillers)

    @property
    def beginnings(self) -> Offsets:
        return {place: first for filler in self._fillers for place, first in filler.beginnings.items()}

    @property
    def offsets(self) -> Offsets:
        """Where each partition is read next."""
        return {place: offset for filler in self._fillers for place, offset in filler.offsets.items()}

    @property
    def has_gaps(self) -> bool:
        """Whether events are missing in the log as far as it was read."""
        return any(filler.has_gaps for filler in self._fillers)

    async def has_new_discards(self) -> bool:
        """Whether an operator has discarded events since the filling began: it may have parked them itself."""
        return await self._fillers[0].has_new_discards()

    async def fill(self, goals: Offsets, filled: Filled) -> None:
        """Read on to these offsets. Raises CursorMovedError where somebody else fills the same generation."""

        async def told(_: Offsets) -> None:
            await filled(self.offsets)

        await _all(filler.fill(goals, told) for filler in self._fillers)


@asynccontextmanager
async def lanes(
    generation: Generation, database: mongo.Database, reader: RecordReader, bootstrap: str
) -> AsyncIterator[Lanes]:
    """Lanes that have started; who filled the generation before has ended. Raises KafkaError and MongoError."""
    async with AsyncExitStack() as clients:
        fillers = []
        for lane, places in enumerate(_shared_out(generation.projection)):
            transactions = Transactions(database, f"{generation.projection.identity}@rebuild-{lane}")
            await transactions.open()
            store = ProjectionStore(generation, database, transactions.run)
            client = await clients.enter_async_context(kafka.reader(bootstrap))
            fillers.append(Filler(store, reader, client, places))
        found = Lanes(fillers)
        await found.start()
        yield found


def _shared_out(projection: Projection) -> list[list[TopicPartition]]:
    """The partitions of each lane."""
    places = [TopicPartition(topic.name, number) for topic in projection.topics for number in range(topic.partitions)]
    shares = [[place for place in places if place.partition % LANES == lane] for lane in range(LANES)]
    return [share for share in shares if share]


async def _all(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do them at once; where one fails, the others are broken off before that is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
