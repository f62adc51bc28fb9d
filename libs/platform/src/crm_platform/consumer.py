"""The loop under every projection and policy: batches of records, from our own cursors, with stops that are loud.

On restart and after every rebalance a consumer seeks to its own cursor, never to the group's committed offset
(docs/adr/0004). A partition whose next event cannot be applied is stopped: nothing is skipped silently.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from time import time as wall_clock
from typing import ClassVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from crm_events.topics import Topic
from crm_platform import kafka
from crm_platform.backoff import Backoff
from crm_platform.cursor import Cursor
from crm_platform.logging import get_logger
from crm_platform.metrics import (
    CONSUMER_LAG,
    EVENTS_CONSUMED,
    GAPS,
    PARTITION_STOPPED,
    PROJECTION_AGE,
)

BATCH_RECORDS = 2_000
BATCH_BYTES = 4 * 1024 * 1024
POLL_MILLISECONDS = 1_000
SESSION_MILLISECONDS = 20_000
MAX_POLL_MILLISECONDS = 300_000

log = get_logger(__name__)

Cursors = dict[TopicPartition, Cursor]


class CursorMovedError(Exception):
    """The stored cursor is not what this consumer left: another one has the partition. Nothing was written."""


class CannotApplyError(Exception):
    """An event cannot be applied; its partition stops here. The message tells why, without personal data."""

    def __init__(self, record: ConsumerRecord, reason: str) -> None:
        super().__init__(reason)
        self.record = record


class Consumer(ConsumerRebalanceListener, ABC):  # type: ignore[misc] # aiokafka's base class is untyped
    """A named reader of topics; subclasses say how a batch is applied and where the cursors are kept."""

    name: str
    topics: tuple[Topic, ...]
    transient: ClassVar[tuple[type[Exception], ...]] = kafka.TRANSIENT

    def __init__(self, bootstrap: str, instance: str) -> None:
        self._bootstrap = bootstrap
        self._instance = instance
        self._client: AIOKafkaConsumer | None = None
        self._cursors: Cursors = {}
        self._stopped: dict[TopicPartition, str] = {}
        self._not_sought: Exception | None = None
        self.alive = True
        self.ready = False

    @abstractmethod
    async def load_cursors(self, partitions: Iterable[TopicPartition]) -> Cursors:
        """The stored cursors of those partitions that have one."""

    @abstractmethod
    async def apply(self, records: Sequence[ConsumerRecord], cursors: Mapping[TopicPartition, Cursor]) -> "Progress":
        """Apply a batch effectively once: results and cursors in one transaction. Raises CursorMovedError."""

    @abstractmethod
    async def prepare(self) -> None:
        """Make ready what the results are written to."""

    @property
    def stopped(self) -> Mapping[TopicPartition, str]:
        """The partitions that stopped, and why."""
        return self._stopped

    async def run(self) -> None:
        """Consume for ever. What is away is waited for, with jittered back-off."""
        backoff = Backoff()
        while True:
            try:
                await self.prepare()
                await self._consume(backoff)
            except self.transient as failure:
                log.warning("consumer_interrupted", consumer=self.name, exc_info=failure)
                await backoff.wait()

    async def _consume(self, backoff: Backoff) -> None:
        client = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self.name,
            group_instance_id=f"{self.name}-{self._instance}",
            client_id=f"{self.name}-{self._instance}",
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_bytes=BATCH_BYTES,
            max_partition_fetch_bytes=BATCH_BYTES,
            session_timeout_ms=SESSION_MILLISECONDS,
            max_poll_interval_ms=MAX_POLL_MILLISECONDS,
        )
        client.subscribe([topic.name for topic in self.topics], listener=self)
        self._client = client
        self._not_sought = None
        try:
            await client.start()
            while True:
                records = await _polled(client)
                if self._not_sought is not None:
                    raise self._not_sought
                await self._take(records)
                backoff.succeeded()
                self.ready = True
        except OffsetOutOfRangeError as lost:
            log.error("records_lost", consumer=self.name, reason="the topic no longer holds what the cursor asks for")
            raise OSError("records were deleted before they were read") from lost
        finally:
            self._client = None
            self.ready = False
            await kafka.stopped(client)

    # -- rebalances: called by aiokafka between polls

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Nothing to hand over: the cursor is stored with every batch, and its guard fences a late write."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        for place in self._stopped:
            PARTITION_STOPPED.labels(consumer=self.name, topic=place.topic, partition=place.partition).set(0)
        self._stopped = {}
        self._cursors = {}
        try:
            await self._seek_to_cursors(set(assigned))
        except Exception as failure:  # noqa: BLE001 - aiokafka would log it and read on from anywhere
            self._not_sought = failure

    async def _seek_to_cursors(self, partitions: set[TopicPartition]) -> None:
        """Read the stored cursors and go there; a partition without one is read from its beginning.

        So is one that ends before its cursor: it was made anew, and what is published there again is known by its
        position.
        """
        assert self._client is not None  # noqa: S101 - called while consuming only
        cursors = await self.load_cursors(partitions)
        beginnings = await self._client.beginning_offsets(list(partitions))
        ends = await self._client.end_offsets(list(partitions))
        self._cursors = {place: cursors.get(place, Cursor(next_offset=beginnings[place])) for place in partitions}
        for place, cursor in self._cursors.items():
            shorter = cursor.next_offset > ends[place]
            if shorter:
                log.error("partition_shorter_than_cursor", consumer=self.name, place=str(place), end=ends[place])
            self._client.seek(place, beginnings[place] if shorter else cursor.next_offset)

    # -- batches

    async def _take(self, records: Sequence[ConsumerRecord]) -> None:
        mine = [r for r in records if _place(r) in self._cursors and _place(r) not in self._stopped]
        if not mine:
            return
        try:
            progress = await self.apply(mine, self._cursors)
        except CursorMovedError:
            log.warning("cursor_moved", consumer=self.name)
            await self._seek_to_cursors(set(self._cursors))
            return
        self._cursors.update({place: cursor.kept() for place, cursor in progress.cursors.items()})
        for stop in progress.stops:
            self._stop(stop)
        self._measure(mine, progress)

    def _stop(self, stop: CannotApplyError) -> None:
        """Loudly: an error in the log, a gauge that alerts, the reason in the status; the record is read again at the
        next start.
        """
        record, place = stop.record, _place(stop.record)
        assert self._client is not None  # noqa: S101 - called while consuming only
        self._client.pause(place)
        self._stopped[place] = str(stop)
        PARTITION_STOPPED.labels(consumer=self.name, topic=record.topic, partition=record.partition).set(1)
        log.error(
            "partition_stopped",
            consumer=self.name,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=str(stop),
        )

    def _measure(self, records: Sequence[ConsumerRecord], progress: "Progress") -> None:
        for (topic, outcome), count in progress.outcomes.items():
            EVENTS_CONSUMED.labels(consumer=self.name, topic=topic, outcome=outcome).inc(count)
        for place, cursor in progress.cursors.items():
            labels = {"consumer": self.name, "topic": place.topic, "partition": place.partition}
            GAPS.labels(**labels).set(0 if cursor.gap is None else 1)
            end = self._client.highwater(place) if self._client else None
            CONSUMER_LAG.labels(**labels).set(max(0, (end or 0) - cursor.next_offset))
        newest = max(record.timestamp for record in records) / 1000
        PROJECTION_AGE.labels(consumer=self.name).set(max(0.0, wall_clock() - newest))


async def _polled(client: AIOKafkaConsumer) -> list[ConsumerRecord]:
    """The next records. There are none while our cursors are being read after a rebalance.

    Meanwhile aiokafka looks for an offset that the group committed, finds none, and says so: nobody needs it here.
    """
    try:
        batches = await client.getmany(timeout_ms=POLL_MILLISECONDS, max_records=BATCH_RECORDS)
    except NoOffsetForPartitionError:
        return []
    return [record for records in batches.values() for record in records]


def _place(record: ConsumerRecord) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


class Progress:
    """What came of a batch: moved cursors, partitions to stop, and how many records had which outcome."""

    def __init__(self, cursors: Mapping[TopicPartition, Cursor]) -> None:
        self._before = cursors
        self.cursors: Cursors = {}
        self.stops: list[CannotApplyError] = []
        self.outcomes: dict[tuple[str, str], int] = {}

    def cursor(self, record: ConsumerRecord) -> Cursor:
        place = _place(record)
        return self.cursors.get(place) or self._before[place]

    def is_stopped(self, record: ConsumerRecord) -> bool:
        return any(_place(stop.record) == _place(record) for stop in self.stops)

    def move(self, record: ConsumerRecord, cursor: Cursor, outcome: str) -> None:
        """The record is dealt with."""
        self.cursors[_place(record)] = cursor.after(record.offset)
        key = (record.topic, outcome)
        self.outcomes[key] = self.outcomes.get(key, 0) + 1

    def stop(self, stop: CannotApplyError) -> None:
        self.stops.append(stop)
        key = (stop.record.topic, "refused")
        self.outcomes[key] = self.outcomes.get(key, 0) + 1
