"""From the store to Kafka: the event table is the outbox (docs/adr/0003).

The relay reads the store after its checkpoint, sends the stored bytes with an idempotent producer, waits for the acks,
then moves the checkpoint. A crash sends some events again with the same ids and bytes. It never steps over an event:
one that cannot be sent stops it. After an error it begins again at the checkpoint, with a new producer.
"""

import asyncio
from contextlib import suppress
from time import monotonic
from time import time as wall_clock
from typing import NamedTuple

import orjson
import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from eventsourcing.persistence import PersistenceError

from crm_events.envelope import UnreadableEventError
from crm_events.topics import Topic
from crm_platform import kafka
from crm_platform.authenticity import Authenticator
from crm_platform.backoff import Backoff
from crm_platform.crash_points import CrashPoint, passing
from crm_platform.event_store.application import EventStore
from crm_platform.event_store.connections import listening
from crm_platform.event_store.recorder import Recorder
from crm_platform.event_tracing import publishing
from crm_platform.finishing import to_its_end
from crm_platform.inbound import link_of
from crm_platform.lag import Watchdog
from crm_platform.logging import get_logger
from crm_platform.metrics import EVENTS_PUBLISHED, RELAY_HEAD, RELAY_LAG_SECONDS, RELAY_POSITION, RELAY_STOPPED
from crm_platform.outbox import Checkpoint, Outbox, StoreBehindLogError, within
from crm_platform.watching import watching

BATCH = 2_000
BATCH_BYTES = 4 * 1024 * 1024
POLL_SECONDS = 0.5
LOOK_SECONDS = 2.0
ANSWER_SECONDS = 3.0
LOOK_BACK_RECORDS = 20

log = get_logger(__name__)


class Batch(NamedTuple):
    """What is to be published next: its records, the checkpoint behind it, and whether the store surely has more.

    `read_at` is when the store was asked, as a Unix time.
    """

    outgoing: list[kafka.Outgoing]
    checkpoint: Checkpoint
    more: bool
    read_at: float


class Ahead(NamedTuple):
    """A batch that is made ready before its turn, and the position that it follows."""

    position: int
    batch: asyncio.Task[Batch]


class Relay:
    """Publishes one service's store. Two of them at once are harmless: consumers know repeats by their position."""

    name = "relay"

    def __init__(
        self, store: EventStore, postgres_uri: str, bootstrap: str, topic: Topic, authenticator: Authenticator
    ) -> None:
        self._recorder: Recorder = store.store
        self._postgres_uri = postgres_uri
        self._bootstrap = bootstrap
        self._topic = topic
        self._authenticator = authenticator
        self._outbox = Outbox(topic, authenticator)
        self._ahead: Ahead | None = None
        self._position = 0
        self._published_before = 0
        self._read_at = wall_clock()
        self._refused = False
        self._watchdog = Watchdog(monotonic())
        self.ready = False
        self.alive = True

    async def run(self) -> None:
        """Relay for ever. A broker or database that is away is waited for; StoreBehindLogError stops it for good."""
        async with watching(self.name, self._look, LOOK_SECONDS):
            await self._relay_for_ever()

    async def _relay_for_ever(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._run_once(backoff)
            except StoreBehindLogError as refusal:
                self._stopped(refused=True)
                log.error("relay_refuses_to_run", reason=str(refusal))
                await asyncio.Event().wait()
            except KafkaError as failure:
                self._stopped(refused=not failure.retriable)
                log.warning("relay_interrupted", exc_info=failure)
                await backoff.wait()
            except (*kafka.TRANSIENT, PersistenceError, psycopg.Error) as failure:
                log.warning("relay_interrupted", exc_info=failure)
                await backoff.wait()

    def _stopped(self, *, refused: bool) -> None:
        self._refused = refused
        RELAY_STOPPED.set(refused)

    async def _run_once(self, backoff: Backoff) -> None:
        async with listening(self._postgres_uri, self._recorder.channel_name) as notifications:
            self._ahead = None
            checkpoint = await self._verified_checkpoint()
            async with kafka.producer(self._bootstrap) as producer:
                while True:
                    before = checkpoint.position
                    checkpoint = await to_its_end(self._relay_batch(producer, checkpoint))
                    if checkpoint.position == before:
                        self.ready = True
                        await _notified(notifications)
                    self._stopped(refused=False)
                    backoff.succeeded()

    async def _relay_batch(self, producer: AIOKafkaProducer, checkpoint: Checkpoint) -> Checkpoint:
        """Publish what comes next; returns the checkpoint behind it, which is the same if there was nothing."""
        batch = await self._next(checkpoint)
        after = batch.checkpoint
        if after.position > checkpoint.position:
            passing(CrashPoint.RELAY_AFTER_READ)
            with publishing(self._topic.name, (record.headers for record in batch.outgoing), self._published_before):
                acks = await kafka.send_in_batches(producer, self._topic.name, batch.outgoing)
                passing(CrashPoint.RELAY_AFTER_SEND)
                if batch.more:
                    self._ahead = Ahead(after.position, asyncio.create_task(self._prepared(after)))
                await asyncio.gather(*acks)
            passing(CrashPoint.RELAY_AFTER_ACK)
            await asyncio.to_thread(self._save, after)
            passing(CrashPoint.RELAY_AFTER_CHECKPOINT)
            EVENTS_PUBLISHED.labels(topic=self._topic.name).inc(len(batch.outgoing))
        self._position = after.position
        self._read_at = batch.read_at
        self._watchdog.progressed(monotonic())
        RELAY_POSITION.set(after.position)
        return after

    async def _next(self, checkpoint: Checkpoint) -> Batch:
        """What follows a checkpoint, maybe made ready while the batch before was on its way."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.position == checkpoint.position:
            return await ahead.batch
        return await self._prepared(checkpoint)

    async def _prepared(self, checkpoint: Checkpoint) -> Batch:
        read_at = wall_clock()
        found = await asyncio.to_thread(self._recorder.select_after, checkpoint.position, BATCH)
        notifications, after = within(found, BATCH_BYTES), checkpoint.copy()
        outgoing = self._outbox.records(notifications, after)
        return Batch(outgoing, after, len(found) == BATCH, read_at)

    # -- the checkpoint

    def _save(self, checkpoint: Checkpoint) -> None:
        partitions = orjson.dumps({str(p): position for p, position in checkpoint.partitions.items()}).decode()
        with self._recorder.datastore.get_connection() as conn:
            # Not waited for on the disk: if PostgreSQL loses it in a crash, some events are published again.
            conn.execute(
                "INSERT INTO relay_checkpoint SELECT %s, %s, %s::jsonb"
                " FROM (SELECT set_config('synchronous_commit', 'off', true)) AS lax"
                " ON CONFLICT (relay) DO UPDATE SET position = excluded.position, partitions = excluded.partitions",
                (self._topic.name, checkpoint.position, partitions),
            )

    def _load(self) -> Checkpoint:
        with self._recorder.datastore.get_connection() as conn:
            row = conn.execute(
                "SELECT position, partitions FROM relay_checkpoint WHERE relay = %s", (self._topic.name,)
            ).fetchone()
        if row is None:
            return Checkpoint()
        return Checkpoint(row["position"], {int(p): position for p, position in row["partitions"].items()})

    async def _verified_checkpoint(self) -> Checkpoint:
        """The checkpoint, set back where Kafka has lost what it says was published."""
        checkpoint = await asyncio.to_thread(self._load)
        self._published_before = checkpoint.position
        published = await self._last_published()
        newest = await asyncio.to_thread(self._recorder.max_notification_id) or 0
        position = self._outbox.position_to_set_back_to(checkpoint, published, newest)
        if position is None:
            return checkpoint
        log.error("relay_set_back", from_position=checkpoint.position, to_position=position)
        return await asyncio.to_thread(self._as_of, position)

    def _as_of(self, position: int) -> Checkpoint:
        """The checkpoint as it was at a position, told by the store; costs as much as the history before it."""
        checkpoint = Checkpoint()
        while notifications := [
            n for n in self._recorder.select_after(checkpoint.position, BATCH) if n.position <= position
        ]:
            self._outbox.records(notifications, checkpoint)
        return checkpoint

    async def _last_published(self) -> dict[int, int]:
        """The position of the last record of each partition that has one of a relay's."""
        async with kafka.reader(self._bootstrap) as client:
            places = [TopicPartition(self._topic.name, n) for n in range(self._topic.partitions)]
            client.assign(places)
            beginnings = await client.beginning_offsets(places)
            ends = await client.end_offsets(places)
            found = {p.partition: await self._last_position(client, p, beginnings[p], ends[p]) for p in places}
        return {partition: position for partition, position in found.items() if position is not None}

    async def _last_position(self, client: AIOKafkaConsumer, place: TopicPartition, begin: int, end: int) -> int | None:
        """The position of the last record that a relay wrote there; what strangers wrote behind it is no matter."""
        while begin < end:
            start = max(begin, end - LOOK_BACK_RECORDS)
            records = await _records_between(client, place, start, end)
            for record in reversed(records):
                with suppress(UnreadableEventError):
                    return link_of(record, self._authenticator).position
            end = start
        return None

    # -- how far the relay is behind, and whether it goes on, looked at every two seconds

    async def _look(self) -> None:
        position, read_at = self._position, self._read_at
        answering, head = await self._answers()
        behind = max(0, head - position)
        # What is refused is told by its own gauge; starting again would not mend it.
        stuck = self._watchdog.is_stuck(monotonic(), lag=behind, answering=answering and not self._refused)
        if stuck and self.alive:
            log.error("relay_stuck", position=position, head=head)
        self.alive = not stuck
        RELAY_HEAD.set(head)
        RELAY_LAG_SECONDS.set(max(0.0, wall_clock() - read_at) if behind else 0.0)

    async def _answers(self) -> tuple[bool, int]:
        """Whether the store and Kafka give a sign of life, and the newest position of the store as far as known."""
        head = self._position
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                head = await asyncio.to_thread(self._recorder.max_notification_id) or 0
                if head > self._position:
                    await kafka.ping(self._bootstrap)
        except (*kafka.TRANSIENT, PersistenceError):
            return False, head
        return True, head


async def _notified(notifications: psycopg.AsyncConnection[object]) -> None:
    """Until the store says that something was written, or half a second has passed."""
    async for _ in notifications.notifies(timeout=POLL_SECONDS, stop_after=1):
        pass


async def _records_between(
    client: AIOKafkaConsumer, place: TopicPartition, start: int, end: int
) -> list[ConsumerRecord]:
    """The records of the partition from one offset up to another; the offsets may have holes."""
    client.seek(place, start)
    records: list[ConsumerRecord] = []
    while await client.position(place) < end:
        fetched = await client.getmany(place, timeout_ms=1_000)
        records += [record for record in fetched.get(place, ()) if record.offset < end]
    return records
