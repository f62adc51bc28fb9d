"""Deletes a topic's records once the one policy that reads it has taken them in (docs/adr/0019).

For a topic that others write in the clear. Nothing beyond the policy's stored cursor is ever deleted: what a record led
to is stored with that cursor, and what is parked holds a copy of its own.
"""

import asyncio
from collections.abc import Iterable, Mapping
from time import monotonic
from time import time as wall_clock
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import OffsetOutOfRangeError
from eventsourcing.persistence import PersistenceError

from crm_events.topics import Topic
from crm_platform import kafka
from crm_platform.cursor import Cursors
from crm_platform.event_store.recorder import Recorder
from crm_platform.logging import get_logger
from crm_platform.metrics import PURGED_RECORDS, PURGED_TOPIC_OLDEST_SECONDS
from crm_platform.policy_store import PolicyStore
from crm_platform.topics import SEGMENT_SECONDS

LOOK_MILLISECONDS = 1_000
RETRY_SECONDS = 60.0

log = get_logger(__name__)


class Purged(NamedTuple):
    """A topic that is to be purged behind the policy of that name, the only one that reads it."""

    topic: Topic
    policy: str


class Extent(NamedTuple):
    """From the first record that a partition holds to behind its last."""

    beginning: int
    end: int


class Purge:
    """Purges at intervals, and when it is asked to. Two at once are harmless."""

    ready = True
    alive = True

    def __init__(self, purged: Purged, recorder: Recorder, bootstrap: str, every_seconds: float) -> None:
        self.name = f"{purged.policy}.purge"
        self._topic = purged.topic
        self._places = [TopicPartition(self._topic.name, number) for number in range(self._topic.partitions)]
        self._cursors = PolicyStore(purged.policy, recorder)
        self._bootstrap = bootstrap
        self._every_seconds = every_seconds
        self._closing = Closing()

    async def run(self) -> None:
        """Purge for ever. What is away is tried again at the next turn."""
        waits = 0.0
        while True:
            try:
                waits = await self._turn(begins=waits == 0.0)
            except (*kafka.TRANSIENT, PersistenceError) as away:
                log.warning("not_purged", topic=self._topic.name, exc_info=away)
                waits = min(RETRY_SECONDS, self._every_seconds)
            await asyncio.sleep(waits)

    async def _turn(self, *, begins: bool) -> float:
        """Purge, and say how long to wait; a process that begins first waits until the oldest record is due."""
        if begins:
            async with kafka.reader(self._bootstrap) as client:
                oldest = await self._oldest_seconds(client)
            if oldest < self._every_seconds:
                return self._every_seconds - oldest
        await self.at_once()
        await self._close_segments()
        return self._every_seconds

    async def at_once(self) -> int:
        """Delete what the policy has taken in by now; returns how many offsets that were.

        Raises KafkaError, OSError, TimeoutError or PersistenceError.
        """
        cursors = (await asyncio.to_thread(self._cursors.standing, set(self._places))).cursors
        async with kafka.reader(self._bootstrap) as client:
            extents = await self._extents(client)
            deleted = await self._delete(behind(cursors, extents), extents)
            PURGED_TOPIC_OLDEST_SECONDS.labels(topic=self._topic.name).set(await self._oldest_seconds(client))
        return deleted

    async def _extents(self, client: AIOKafkaConsumer) -> dict[TopicPartition, Extent]:
        beginnings = await client.beginning_offsets(self._places)
        ends = await client.end_offsets(self._places)
        return {place: Extent(beginnings[place], ends[place]) for place in self._places}

    async def _delete(self, before: Mapping[TopicPartition, int], extents: Mapping[TopicPartition, Extent]) -> int:
        if not before:
            return 0
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            await admin.delete_records({place: RecordsToDelete(offset) for place, offset in before.items()})
        finally:
            await admin.close()
        deleted = sum(offset - extents[place].beginning for place, offset in before.items())
        PURGED_RECORDS.labels(topic=self._topic.name).inc(deleted)
        log.info("purged", topic=self._topic.name, offsets=deleted)
        return deleted

    async def _oldest_seconds(self, client: AIOKafkaConsumer) -> float:
        """How old the oldest record is that the topic still holds; 0 where it holds none."""
        extents = await self._extents(client)
        held = [place for place, extent in extents.items() if extent.beginning < extent.end]
        client.assign(held)
        timestamps = []
        for place in held:
            client.seek(place, extents[place].beginning)
            try:
                fetched = await client.getmany(place, timeout_ms=LOOK_MILLISECONDS, max_records=1)
            except OffsetOutOfRangeError:
                continue
            timestamps += [record.timestamp / 1000 for record in fetched.get(place, ())]
        return max(0.0, wall_clock() - min(timestamps)) if timestamps else 0.0

    async def _close_segments(self) -> None:
        """Kafka deletes whole segments, and closes one only when something is written behind it: so that happens."""
        async with kafka.reader(self._bootstrap) as client:
            extents = await self._extents(client)
        due = self._closing.due(extents, monotonic())
        if not due:
            return
        async with kafka.producer(self._bootstrap, transactional_id=self.name) as producer:
            for place in due:
                await _write_nothing(producer, place)
            async with kafka.reader(self._bootstrap) as client:
                self._closing.closed(due, await self._extents(client))
        log.info("segments_closed", topic=self._topic.name, partitions=len(due))


class Closing:
    """Which partitions have lain still, all of it purged, for as long as a segment stays open."""

    def __init__(self) -> None:
        self._still: dict[TopicPartition, tuple[int, float]] = {}
        self._closed: dict[TopicPartition, int] = {}

    def due(self, extents: Mapping[TopicPartition, Extent], now: float) -> list[TopicPartition]:
        due = []
        for place, extent in extents.items():
            end, since = self._still.get(place, (-1, now))
            if end != extent.end:
                since = now
            self._still[place] = extent.end, since
            is_still = now - since >= SEGMENT_SECONDS and extent.beginning == extent.end > 0
            if is_still and self._closed.get(place) != extent.end:
                due.append(place)
        return due

    def closed(self, places: Iterable[TopicPartition], extents: Mapping[TopicPartition, Extent]) -> None:
        self._closed.update({place: extents[place].end for place in places})


def behind(cursors: Cursors, extents: Mapping[TopicPartition, Extent]) -> dict[TopicPartition, int]:
    """Up to where each partition may be purged. Nothing of one that was made anew and is not read again yet."""
    return {
        place: cursors[place].next_offset
        for place, extent in extents.items()
        if place in cursors and extent.beginning < cursors[place].next_offset <= extent.end
    }


async def _write_nothing(producer: AIOKafkaProducer, place: TopicPartition) -> None:
    """A transaction that is given up: it takes two offsets, and no reader of committed records is given any of it."""
    await producer.begin_transaction()
    try:
        await producer.send_and_wait(place.topic, value=b"", partition=place.partition)
    finally:
        await producer.abort_transaction()
