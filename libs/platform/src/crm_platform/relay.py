"""From the store to Kafka: the event table is the outbox (docs/adr/0003).

The relay reads the store after its checkpoint, sends the stored bytes with an idempotent producer, waits for the acks,
then moves the checkpoint. A crash sends some events again with the same ids and bytes. It never steps over an event:
one that cannot be sent stops it. After an error it begins again at the checkpoint, with a new producer.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from eventsourcing.persistence import PersistenceError

from crm_events.envelope import STRUCTURED, event_id
from crm_events.topics import Topic
from crm_platform import kafka
from crm_platform.backoff import Backoff
from crm_platform.event_store.application import EventStore
from crm_platform.event_store.mapper import PRIVATE
from crm_platform.event_store.recorder import Notification, Recorder
from crm_platform.logging import get_logger
from crm_platform.metrics import EVENTS_PUBLISHED, RELAY_HEAD, RELAY_POSITION
from crm_platform.partitioning import key_of, partition_of

BATCH = 2_000
BATCH_BYTES = 4 * 1024 * 1024
POLL_SECONDS = 0.5

log = get_logger(__name__)


class StoreBehindLogError(RuntimeError):
    """Kafka holds events that the store does not: the store was restored from a backup."""


@dataclass(slots=True)
class Checkpoint:
    """How far the store is published: its position, and the last position in each partition."""

    position: int = 0
    partitions: dict[int, int] = field(default_factory=dict)


class Outgoing(NamedTuple):
    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Relay:
    """Publishes one service's store. Two of them at once are harmless: consumers know repeats by their position."""

    name = "relay"

    def __init__(self, store: EventStore, postgres_uri: str, bootstrap: str, topic: Topic) -> None:
        self._store = store
        self._recorder: Recorder = store.store
        self._postgres_uri = postgres_uri
        self._bootstrap = bootstrap
        self._topic = topic
        self.ready = False
        self.alive = True

    async def run(self) -> None:
        """Relay for ever. A broker or database that is away is waited for; StoreBehindLogError stops it for good."""
        backoff = Backoff()
        while True:
            try:
                await self._run_once(backoff)
            except StoreBehindLogError as refusal:
                self.ready = False
                log.error("relay_refuses_to_run", reason=str(refusal))
                await asyncio.Event().wait()
            except (*kafka.TRANSIENT, PersistenceError, psycopg.Error) as failure:
                log.warning("relay_interrupted", exc_info=failure)
                await backoff.wait()

    async def _run_once(self, backoff: Backoff) -> None:
        async with await psycopg.AsyncConnection.connect(self._postgres_uri, autocommit=True) as listening:
            await listening.execute(f'LISTEN "{self._recorder.channel_name}"')
            checkpoint = await self._verified_checkpoint()
            async with kafka.producer(self._bootstrap) as producer:
                self.ready = True
                while True:
                    if not await self._relay_batch(producer, checkpoint):
                        await _notified(listening)
                    backoff.succeeded()

    async def _relay_batch(self, producer: AIOKafkaProducer, checkpoint: Checkpoint) -> bool:
        """Publish what comes next; False if there was nothing."""
        notifications = await asyncio.to_thread(self._recorder.select_after, checkpoint.position, BATCH)
        notifications = _within(notifications, BATCH_BYTES)
        if not notifications:
            RELAY_HEAD.set(checkpoint.position)
            return False
        RELAY_HEAD.set(notifications[-1].position)
        outgoing = [o for n in notifications if (o := self._outgoing(n, checkpoint.partitions))]
        await self._send(producer, outgoing)
        checkpoint.position = notifications[-1].position
        await asyncio.to_thread(self._save, checkpoint)
        RELAY_POSITION.set(checkpoint.position)
        EVENTS_PUBLISHED.labels(topic=self._topic.name).inc(len(outgoing))
        return True

    def _outgoing(self, notification: Notification, last: dict[int, int]) -> Outgoing | None:
        """The record of an event, None for a private one; `last` moves on to it."""
        if notification.topic.startswith(PRIVATE):
            return None
        partition = partition_of(notification.stream, self._topic.partitions)
        previous, last[partition] = last.get(partition, 0), notification.position
        headers = [
            ("content-type", STRUCTURED.encode()),
            ("ce_id", str(event_id(notification.stream, notification.sequence)).encode()),
            ("ce_type", notification.topic.encode()),
            ("ce_position", b"%d" % notification.position),
            ("ce_previous", b"%d" % previous),
        ]
        return Outgoing(partition, key_of(notification.stream), notification.state, headers)

    async def _send(self, producer: AIOKafkaProducer, outgoing: Sequence[Outgoing]) -> None:
        """Send in order within each partition, whole batches at a time, and wait for every ack."""
        acks = []
        by_partition: dict[int, list[Outgoing]] = {}
        for record in outgoing:
            by_partition.setdefault(record.partition, []).append(record)
        for partition, records in by_partition.items():
            batch = producer.create_batch()
            for record in records:
                appended = batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers)
                if appended is None:
                    acks.append(await producer.send_batch(batch, self._topic.name, partition=partition))
                    batch = producer.create_batch()
                    batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers)
            acks.append(await producer.send_batch(batch, self._topic.name, partition=partition))
        await asyncio.gather(*acks)

    # -- the checkpoint

    def _save(self, checkpoint: Checkpoint) -> None:
        partitions = orjson.dumps({str(p): position for p, position in checkpoint.partitions.items()}).decode()
        with self._recorder.datastore.get_connection() as conn:
            conn.execute(
                "INSERT INTO relay_checkpoint VALUES (%s, %s, %s) ON CONFLICT (relay)"
                " DO UPDATE SET position = excluded.position, partitions = excluded.partitions",
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
        published = await self._last_published()
        newest = await asyncio.to_thread(self._recorder.max_notification_id) or 0
        ahead = max(published.values(), default=0)
        if ahead > newest:
            raise StoreBehindLogError(
                f"{self._topic.name} holds position {ahead}, the store ends at {newest}: it was restored from a backup."
                " Take the missing events back from the log before this service writes again."
            )
        lost = [published.get(p, 0) for p, position in checkpoint.partitions.items() if published.get(p, 0) < position]
        if lost:
            log.error("relay_set_back", from_position=checkpoint.position, to_position=min(lost))
            checkpoint = await asyncio.to_thread(self._as_of, min(lost))
        return checkpoint

    def _as_of(self, position: int) -> Checkpoint:
        """The checkpoint as it was at a position, told by the store; costs as much as the history before it."""
        checkpoint = Checkpoint()
        while notifications := [
            n for n in self._recorder.select_after(checkpoint.position, BATCH) if n.position <= position
        ]:
            for notification in notifications:
                self._outgoing(notification, checkpoint.partitions)
            checkpoint.position = notifications[-1].position
        return checkpoint

    async def _last_published(self) -> dict[int, int]:
        """`ce_position` of the last record of each partition that has one."""
        async with kafka.reader(self._bootstrap) as client:
            ends = await kafka.end_offsets(client, self._topic.name, self._topic.partitions)
            held = [TopicPartition(self._topic.name, p) for p, end in ends.items() if end]
            client.assign(held)
            return {tp.partition: await _position_at(client, tp, ends[tp.partition] - 1) for tp in held}


async def _position_at(client: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> int:
    client.seek(partition, offset)
    record = await client.getone(partition)
    return int(kafka.header(record.headers, "ce_position") or 0)


async def _notified(listening: psycopg.AsyncConnection[object]) -> None:
    """Until the store says that something was written, or half a second has passed."""
    async for _ in listening.notifies(timeout=POLL_SECONDS, stop_after=1):
        pass


def _within(notifications: list[Notification], limit: int) -> list[Notification]:
    size = 0
    for index, notification in enumerate(notifications):
        size += len(notification.state)
        if size > limit and index:
            return notifications[:index]
    return notifications
