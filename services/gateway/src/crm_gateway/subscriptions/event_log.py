"""The topics as subscribers read them: the newest records from memory, older ones from Kafka, proven ones only."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from crm_events.envelope import UnreadableEventError
from crm_events.topics import Topic
from crm_gateway.subscriptions.readers import LogReader, LogReaders, Offsets
from crm_platform import kafka
from crm_platform.authenticity import Authenticator
from crm_platform.backoff import Backoff
from crm_platform.errors import Unavailable
from crm_platform.inbound import Link, link_of
from crm_platform.logging import get_logger
from crm_platform.wakeup import Wakeup

WINDOW_BYTES = 256 * 1024
"""So much of the end of each partition is kept in memory, for all who follow it."""
LOOK_BACK_RECORDS = 100
FURTHER = 4
MOST_UNPROVEN = 1_000
IDLE_SECONDS = 60.0
"""Once nobody has asked for that long, nothing is followed."""
FOLLOWS_WITHIN_SECONDS = 5.0
_AWAY = "The events cannot be read from Kafka now; try again in a moment."

log = get_logger(__name__)


class Published(NamedTuple):
    """A record. `link` is None where it does not prove that a relay of ours wrote it: then it is no event."""

    offset: int
    timestamp: int
    link: Link | None
    type_name: str
    value: bytes


class Stretch(NamedTuple):
    """Records of a partition without a hole, and the offset behind them."""

    records: Sequence[Published]
    next_offset: int


class EventsLostError(Exception):
    """A partition begins behind what was asked for. `beginning` is its first offset."""

    def __init__(self, place: TopicPartition, beginning: int) -> None:
        super().__init__(place.topic, place.partition, beginning)
        self.place = place
        self.beginning = beginning


class _Window:
    """The end of a partition: its newest records."""

    def __init__(self, end: int) -> None:
        self.end = end
        self._records: deque[Published] = deque()
        self._bytes = 0

    def add(self, records: Iterable[Published]) -> None:
        for record in records:
            self._records.append(record)
            self._bytes += len(record.value)
            self.end = record.offset + 1
        while self._bytes > WINDOW_BYTES:
            self._bytes -= len(self._records.popleft().value)

    def since(self, offset: int) -> list[Published] | None:
        """The records from that offset on; None where they reach further back than the window."""
        first = self._records[0].offset if self._records else self.end
        return [record for record in self._records if record.offset >= offset] if offset >= first else None


class EventLog:
    """Follows the topics' ends once for all subscribers, and reads what lies behind them for each."""

    name = "event-log"
    ready = True
    alive = True

    def __init__(self, bootstrap: str, topics: Sequence[Topic], authenticator: Authenticator) -> None:
        self._bootstrap = bootstrap
        self._authenticator = authenticator
        self._places = [TopicPartition(topic.name, n) for topic in topics for n in range(topic.partitions)]
        self._windows: dict[TopicPartition, _Window] = {}
        self._came = Wakeup()
        self._asked = asyncio.Event()
        self._asked_at = 0.0
        self._readers: LogReaders | None = None

    async def run(self) -> None:
        """Follow while anybody asks; while Kafka is away subscribers are told so."""
        self._readers = LogReaders(self._bootstrap)
        backoff = Backoff(most=2.0)
        try:
            while True:
                await self._asked.wait()
                try:
                    async with kafka.reader(self._bootstrap) as client:
                        await self._follow(client, backoff)
                except kafka.TRANSIENT as away:
                    self._windows = {}
                    log.warning("event_log_interrupted", err_type=type(away).__name__)
                    await backoff.wait()
        finally:
            await self._readers.close()

    async def _follow(self, client: AIOKafkaConsumer, backoff: Backoff) -> None:
        client.assign(self._places)
        ends = await client.end_offsets(self._places)
        for place, end in ends.items():
            client.seek(place, end)
        self._windows = {place: _Window(end) for place, end in ends.items()}
        while monotonic() - self._asked_at < IDLE_SECONDS:
            self._came.set()
            backoff.succeeded()
            fetched = await client.getmany(timeout_ms=1_000)
            for place, records in fetched.items():
                self._windows[place].add(map(self._published, records))
        self._asked.clear()
        self._windows = {}
        await self._lent().close()

    # -- what subscribers ask

    async def following(self) -> None:
        """Until it knows how far the topics reach. Raises Unavailable where it does not within a few seconds."""
        self._asked_at = monotonic()
        self._asked.set()
        deadline = self._asked_at + FOLLOWS_WITHIN_SECONDS
        while not self._windows:
            if monotonic() > deadline:
                raise Unavailable(_AWAY)
            await self._came.wait(0.1)

    def end(self, place: TopicPartition) -> int:
        """The offset behind the last record. Raises Unavailable."""
        return self._window(place).end

    def _window(self, place: TopicPartition) -> _Window:
        if not self._windows:
            raise Unavailable(_AWAY)
        return self._windows[place]

    async def wait(self, seconds: float) -> None:
        """Until something was published, at most that long."""
        await self._came.wait(seconds)

    async def read(self, wanted: Offsets, most: int) -> Mapping[TopicPartition, Stretch]:
        """What stands at these offsets, at most about `most` records of each partition.

        What lies behind the windows comes first, alone. Raises EventsLostError and Unavailable.
        """
        recent, older = {}, {}
        for place, offset in wanted.items():
            records = self._window(place).since(offset)
            if records is None:
                older[place] = offset
            elif records:
                taken = records[:most]
                recent[place] = Stretch(taken, taken[-1].offset + 1)
        return await self._older(older, most) if older else recent

    async def _older(self, wanted: Offsets, most: int) -> dict[TopicPartition, Stretch]:
        async with self._lent().lent() as reader:
            try:
                runs = await reader.fetch(wanted, most)
            except OffsetOutOfRangeError:
                beginnings = await (await reader.client()).beginning_offsets(list(wanted))
                for place, beginning in beginnings.items():
                    if beginning > wanted[place]:
                        raise EventsLostError(place, beginning) from None
                raise Unavailable("A topic ends before what was asked for; try again in a moment.") from None
        return {
            place: Stretch([self._published(record) for record in run.records], run.next_offset)
            for place, run in runs.items()
        }

    async def beginnings(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that each partition still has."""
        async with self._lent().lent() as reader:
            found: dict[TopicPartition, int] = await (await reader.client()).beginning_offsets(list(places))
            return found

    async def published_since(self, places: Sequence[TopicPartition], milliseconds: int) -> dict[TopicPartition, int]:
        """The offset of each partition's first record with that timestamp or a later one, else of its end."""
        async with self._lent().lent() as reader:
            found = await (await reader.client()).offsets_for_times(dict.fromkeys(places, max(0, milliseconds)))
        return {place: self.end(place) if at is None else at.offset for place, at in found.items()}

    async def offset_after(self, place: TopicPartition, position: int) -> int:
        """An offset at or before which nothing above that position stands that does not stand behind it, too.

        The record at the offset has at most that position, or is the first that is kept: a relay publishes in order,
        so what follows a position follows each of its records. Searched from the end, ever further back.
        """
        async with self._lent().lent() as reader:
            beginnings = await (await reader.client()).beginning_offsets([place])
            beginning: int = beginnings[place]
            end, reach = self.end(place), LOOK_BACK_RECORDS
            while (offset := max(beginning, end - reach)) > beginning:
                found = await self._first_position(reader, place, offset)
                if found is not None and found <= position:
                    return offset
                reach *= FURTHER
            return beginning

    async def _first_position(self, reader: LogReader, place: TopicPartition, offset: int) -> int | None:
        """The position of the first proven record from that offset on."""
        seen = 0
        while offset < self.end(place) and seen < MOST_UNPROVEN:
            run = (await reader.fetch({place: offset}, LOOK_BACK_RECORDS))[place]
            for record in run.records:
                if (link := self._published(record).link) is not None:
                    return link.position
            seen, offset = seen + len(run.records), run.next_offset
        return None

    def _published(self, record: ConsumerRecord) -> Published:
        try:
            link = link_of(record, self._authenticator)
        except UnreadableEventError:
            link = None
        type_name = (kafka.header(record.headers, "ce_type") or "") if link else ""
        value = record.value if link else b""
        return Published(record.offset, record.timestamp, link, type_name, value)

    def _lent(self) -> LogReaders:
        if self._readers is None:
            raise Unavailable(_AWAY)
        return self._readers
