"""What crm.keys must hold of one service: its subjects' keys, and a mark for each that it has destroyed.

The table of destroyed keys is the outbox of the marks (docs/adr/0019). One that is published twice changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import orjson
import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from eventsourcing.persistence import PersistenceError

from crm_events.topics import KEYS
from crm_platform import kafka
from crm_platform.authenticity import Authenticator
from crm_platform.backoff import Backoff
from crm_platform.event_store.key_ledger import KeyLedger, StoredKey
from crm_platform.event_store.subject_keys import SubjectKeys
from crm_platform.finishing import to_its_end
from crm_platform.key_records import MARKED, Destroyed, KeyRecords, WrappedKey, key_id, key_record, mark
from crm_platform.logging import get_logger
from crm_platform.metrics import DESTROYED_KEYS_UNPUBLISHED
from crm_platform.sealing import SealBrokenError

LOOK_SECONDS = 0.5

P = TypeVar("P")

log = get_logger(__name__)


class OnTopic(NamedTuple):
    """What crm.keys holds: ids of keys, as bytes, by the last record of each."""

    wrapped: set[bytes]
    marked: set[bytes]


class KeyPublisher:
    """Publishes marks, and once, when it starts, whatever crm.keys has lost. Two of them at once are harmless."""

    name = "key-publisher"
    ready = True
    alive = True

    def __init__(
        self,
        ledger: KeyLedger,
        keys: SubjectKeys,
        bootstrap: str,
        owner: str,
        records: KeyRecords,
        authenticator: Authenticator,
    ) -> None:
        self._ledger = ledger
        self._keys = keys
        self._bootstrap = bootstrap
        self._owner = owner
        self._named = orjson.dumps({"owner": owner})[1:-1]
        self._records = records
        self._authenticator = authenticator
        self._compared = False

    async def run(self) -> None:
        """Publish for ever. A broker or a database that is away is waited for."""
        backoff = Backoff()
        while True:
            try:
                async with kafka.producer(self._bootstrap) as producer:
                    while True:
                        await to_its_end(self._publish(producer))
                        backoff.succeeded()
                        await asyncio.sleep(LOOK_SECONDS)
            except (*kafka.TRANSIENT, PersistenceError, psycopg.Error) as away:
                log.warning("key_publisher_interrupted", exc_info=away)
                await backoff.wait()

    async def _publish(self, producer: AIOKafkaProducer) -> None:
        # What a backup has brought back is destroyed first: else it would be taken for lost.
        if not self._compared and not self._keys.held:
            await self.publish_what_is_lost(producer)
            self._compared = True
        await self.publish_marks(producer)

    async def publish_marks(self, producer: AIOKafkaProducer) -> None:
        """Publish the marks of all keys whose marks are not acknowledged yet."""
        await publish_marks(producer, self._ledger, self._authenticator)

    async def publish_what_is_lost(self, producer: AIOKafkaProducer) -> None:
        """Compare crm.keys with the store: keys that it lacks are published, and marks that it lacks become due."""
        held, lost = await self._on_topic(), 0
        async for page in pages(self._ledger.stored()):
            missing = [
                each for each in page if each.key.bytes not in held.wrapped and each.key.bytes not in held.marked
            ]
            await publish_keys(producer, self._ledger, self._owner, missing)
            lost += len(missing)
        async for destroyed in pages(self._ledger.destroyed()):
            unmarked = [key for key in destroyed if key.bytes not in held.marked]
            await asyncio.to_thread(self._ledger.publish_again, unmarked)
            lost += len(unmarked)
        if lost:
            log.warning("keys_published_again", records=lost)

    async def _on_topic(self) -> OnTopic:
        """All that the topic holds now of this owner's keys, and all marks."""
        found = OnTopic(set(), set())
        async with kafka.reader(self._bootstrap) as client:
            places = [TopicPartition(KEYS.name, number) for number in range(KEYS.partitions)]
            client.assign(places)
            await client.seek_to_beginning(*places)
            ends = await client.end_offsets(places)
            for place in places:
                await self._read(client, place, ends[place], found)
        return found

    async def _read(self, client: AIOKafkaConsumer, place: TopicPartition, end: int, found: OnTopic) -> None:
        while await client.position(place) < end:
            fetched = await client.getmany(place, timeout_ms=1_000)
            for record in fetched.get(place, ()):
                self._note(record, found)

    def _note(self, record: ConsumerRecord, found: OnTopic) -> None:
        try:
            key = key_id(record).bytes
            # Whatever lies behind a record of ours takes its place when the topic is compacted.
            found.wrapped.discard(key)
            found.marked.discard(key)
            read = self._records.read(record) if self._may_be_own(record.value) else None
        except SealBrokenError:
            return
        if isinstance(read, Destroyed):
            found.marked.add(key)
        elif isinstance(read, WrappedKey) and read.owner == self._owner:
            found.wrapped.add(key)

    def _may_be_own(self, value: bytes | None) -> bool:
        """Unwrapping all services' keys, only to pass most of them over, would take most of the time."""
        return value is not None and (self._named in value or MARKED in value)


async def pages(blocking: Iterator[P]) -> AsyncIterator[P]:
    """Pages that are read from the database one at a time, when they are asked for."""
    while (page := await asyncio.to_thread(next, blocking, None)) is not None:
        yield page


async def publish_marks(producer: AIOKafkaProducer, ledger: KeyLedger, authenticator: Authenticator) -> None:
    """Publish the marks of all keys whose marks are not acknowledged yet."""
    while waiting := await asyncio.to_thread(ledger.unpublished):
        DESTROYED_KEYS_UNPUBLISHED.set(len(waiting))
        await _sent(producer, (mark(key, at, authenticator) for key, at in waiting))
        await asyncio.to_thread(ledger.published, [key for key, _ in waiting])
    DESTROYED_KEYS_UNPUBLISHED.set(0)


async def publish_keys(producer: AIOKafkaProducer, ledger: KeyLedger, owner: str, keys: Sequence[StoredKey]) -> None:
    """Publish keys as they are given; the mark of one that was destroyed meanwhile comes behind it."""
    if keys:
        await _sent(producer, (key_record(each.key, owner, each.wrapped) for each in keys))
        await asyncio.to_thread(ledger.publish_again, [each.key for each in keys])


async def _sent(producer: AIOKafkaProducer, records: Iterable[kafka.Outgoing]) -> None:
    """Sent, and acknowledged."""
    await asyncio.gather(*await kafka.send_in_batches(producer, KEYS.name, records))
