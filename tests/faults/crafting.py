"""Records that are written past the relays: true ones of another release, copies, and whatever strangers may write."""

import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self
from uuid import UUID, uuid4

import psycopg
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c
from tests.faults.rig import Rig

from crm_events.envelope import STRUCTURED, event_id
from crm_events.topics import PARTITIONS, TOPICS
from crm_platform import kafka
from crm_platform.authenticity import HEADER as MAC_HEADER
from crm_platform.authenticity import Authenticator
from crm_platform.event_store.recorder import Notification
from crm_platform.outbox import Checkpoint, Outbox
from crm_platform.partitioning import key_of, partition_of
from crm_platform.sealing import InstallationKey

_CRC, _CRC_END = 17, 21
"""Where a record batch of Kafka holds its checksum; it covers all that follows."""
_CHECKPOINT = "SELECT position, partitions FROM relay_checkpoint"
_AFTER = (
    "SELECT notification_id, originator_id, originator_version, topic, state FROM store_events"
    " WHERE notification_id > %s ORDER BY notification_id"
)
STANDS_FOR_A_NAME = "name-that-is-no-text"
NO_TEXT = b"\xff\xfe" * (len(STANDS_FOR_A_NAME) // 2)


class Crafted(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int = 0
    timestamp_ms: int | None = None


class Crafter:
    """Writes records; the checker is told which, so that it does not take them for the platform's own."""

    def __init__(self, rig: Rig, producer: AIOKafkaProducer) -> None:
        self._rig = rig
        self._producer = producer
        secret = base64.b64decode((rig.stack.folder.secrets / "crm_installation_key").read_text())
        self._authenticator = Authenticator(InstallationKey(secret))

    @classmethod
    @asynccontextmanager
    async def of(cls, rig: Rig) -> AsyncIterator[Self]:
        async with kafka.producer(rig.stack.addresses.kafka_bootstrap) as producer:
            yield cls(rig, producer)

    async def write(self, *records: Crafted) -> None:
        """Each in a batch of its own, in order, just as given."""
        for record in records:
            place = await self.send(record)
            self._rig.reality.crafted.add(place)

    async def send(self, record: Crafted) -> tuple[str, int, int]:
        """Topic, partition and offset of a record that is as good as the platform's own."""
        return await send(self._producer, record)

    async def copy(self, topic: str, partition: int, *, backwards: bool = False) -> int:
        """Every record of ours in the partition once more, as it is; returns how many."""
        found = await self._records_of(TopicPartition(topic, partition))
        records = [r for r in found if (r.topic, r.partition, r.offset) not in self._rig.reality.crafted]
        for r in reversed(records) if backwards else records:
            await self.send(Crafted(topic, r.key, r.value, r.headers, partition, r.timestamp))
        return len(records)

    async def _records_of(self, place: TopicPartition) -> list[ConsumerRecord]:
        records: list[ConsumerRecord] = []
        async with kafka.reader(self._rig.stack.addresses.kafka_bootstrap) as client:
            client.assign([place])
            (end,) = (await client.end_offsets([place])).values()
            await client.seek_to_beginning(place)
            while await client.position(place) < end:
                for found in (await client.getmany(timeout_ms=500)).values():
                    records += found
        return records

    def unpublished(self, service: str, stream: UUID) -> list[Crafted]:
        """The records of a stream as the service's relay will publish them, once it runs again."""
        uri = self._rig.stack.addresses.postgres_uri(service)
        topic = next(topic for topic in TOPICS if topic.name == f"crm.{service}")
        with psycopg.connect(uri) as connection:
            (position, partitions) = connection.execute(_CHECKPOINT).fetchone() or (0, {})
            rows = connection.execute(_AFTER, (position,)).fetchall()
        checkpoint = Checkpoint(position, {int(number): last for number, last in partitions.items()})
        stored = [Notification(*row) for row in rows]
        outgoing = Outbox(topic, self._authenticator).records(stored, checkpoint)
        return [
            Crafted(topic.name, r.key, r.value, r.headers, r.partition) for r in outgoing if r.key == key_of(stream)
        ]

    def reserved(self, service: str) -> int:
        """A position that the service's store will give to no event, as after a transaction that was rolled back."""
        uri = self._rig.stack.addresses.postgres_uri(service)
        with psycopg.connect(uri, autocommit=True) as connection:
            row = connection.execute(
                "SELECT nextval(pg_get_serial_sequence('store_events', 'notification_id'))"
            ).fetchone()
        assert row is not None
        return int(row[0])

    def true(
        self, service: str, stream: UUID, type_name: str, data: dict[str, Any] | bytes, *, sequence: int = 1
    ) -> Crafted:
        """An event as a relay of a later release would publish it next. The platform is at rest meanwhile."""
        topic, partition = f"crm.{service}", partition_of(stream, PARTITIONS)
        value = data if isinstance(data, bytes) else document(stream, type_name, data, sequence)
        position, key = self.reserved(service), key_of(stream)
        published = [r.position for r in self._rig.reality.published[topic] if r.partition == partition]
        previous = max(published, default=0)
        mac = self._authenticator.mac(topic, partition, position, previous, type_name.encode(), key, value)
        headers = [*own_headers(stream, type_name, position, previous, sequence), (MAC_HEADER, mac)]
        return Crafted(topic, key, value, headers, partition)


async def send(producer: AIOKafkaProducer, record: Crafted) -> tuple[str, int, int]:
    """Send a record just as given, in a batch of its own; returns its topic, partition and offset."""
    batch = producer.create_batch()
    headers = [(name, value) for name, value in record.headers]
    timestamp = record.timestamp_ms or int(time.time() * 1000)
    assert batch.append(key=record.key, value=record.value, timestamp=timestamp, headers=headers) is not None
    if any(name == STANDS_FOR_A_NAME for name, _ in headers):
        _rename(batch)
    sent = await (await producer.send_batch(batch, record.topic, partition=record.partition))
    return record.topic, record.partition, sent.offset


def document(stream: UUID, type_name: str, data: dict[str, Any], sequence: int = 1) -> bytes:
    """An event's CloudEvents document."""
    members = {
        "specversion": "1.0",
        "id": str(event_id(stream, sequence)),
        "source": "/crafted",
        "type": type_name,
        "subject": str(stream),
        "time": "2026-03-01T10:00:01.000Z",
        "datacontenttype": "application/json",
        "correlationid": str(uuid4()),
        "causationid": "",
        "actor": "crafted",
        "data": data,
        "sequence": str(sequence),
    }
    return json.dumps(members).encode()


def own_headers(
    stream: UUID, type_name: str, position: int, previous: int, sequence: int = 1
) -> list[tuple[str, bytes | None]]:
    """The headers of a record of ours, but for the proof."""
    return [
        ("content-type", STRUCTURED.encode()),
        ("ce_id", str(event_id(stream, sequence)).encode()),
        ("ce_type", type_name.encode()),
        ("ce_position", b"%d" % position),
        ("ce_previous", b"%d" % previous),
    ]


def _rename(batch: BatchBuilder) -> None:
    """Gives the header a name that is not UTF-8, which no client of good manners can send."""
    build = batch._build

    def renamed() -> bytes:
        data = bytearray(bytes(build()).replace(STANDS_FOR_A_NAME.encode(), NO_TEXT))
        data[_CRC:_CRC_END] = calc_crc32c(bytes(data[_CRC_END:])).to_bytes(4, "big")
        batch._buffer = bytes(data)
        return bytes(data)

    batch._build = renamed
