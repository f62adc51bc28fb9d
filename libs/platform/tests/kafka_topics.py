"""Topics of a test: made, filled and read to their end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import orjson
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from libs.platform.tests.waiting import eventually

from crm_events.envelope import STRUCTURED, Recorded, to_document
from crm_events.event import Event
from crm_events.topics import Topic
from crm_platform import kafka
from crm_platform.authenticity import HEADER as MAC_HEADER
from crm_platform.authenticity import Authenticator
from crm_platform.partitioning import key_of
from crm_platform.sealing import InstallationKey
from crm_platform.testing import SOME_STREAM
from crm_platform.topics import settings_of


@asynccontextmanager
async def administrator(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def create_topic(bootstrap: str, topic: Topic) -> None:
    async with administrator(bootstrap) as admin:
        await admin.create_topics([NewTopic(topic.name, topic.partitions, 1, topic_configs=settings_of(topic))])


async def recreate_topic(bootstrap: str, topic: Topic) -> None:
    """Lose all that the topic holds."""
    async with administrator(bootstrap) as admin:
        await admin.delete_topics([topic.name])

    async def created() -> bool:
        try:
            await create_topic(bootstrap, topic)
        except KafkaError:
            return False
        return True

    await eventually(created)


async def records_of(bootstrap: str, topic: Topic) -> list[ConsumerRecord]:
    """All that the topic holds, partition by partition."""
    async with kafka.reader(bootstrap) as client:
        ends = await kafka.end_offsets(client, topic.name, topic.partitions)
        held = {TopicPartition(topic.name, n): end for n, end in ends.items() if end}
        if not held:
            return []
        client.assign(list(held))
        await client.seek_to_beginning()
        found: list[ConsumerRecord] = []
        while len(found) < sum(held.values()):
            for records in (await client.getmany(timeout_ms=500)).values():
                found.extend(records)
    return sorted(found, key=lambda r: (r.partition, r.offset))


def position_of(record: ConsumerRecord) -> tuple[int, int]:
    """What the record says of its place in the store: its position, and the one before it in its partition."""
    return int(kafka.header(record.headers, "ce_position") or 0), int(kafka.header(record.headers, "ce_previous") or 0)


AUTHENTICATOR = Authenticator(InstallationKey(b"i" * 32))
"""Of the installation that the tests are."""


def as_record(
    topic: Topic,
    offset: int,
    event: Recorded[Event] | bytes,
    place: tuple[int, int],
    *,
    partition: int = 0,
    named: str = "",
    key: UUID | None = None,
) -> ConsumerRecord:
    """An event as a consumer is given it; `place` is its position and the one before, `key` the stream's id."""
    value = event if isinstance(event, bytes) else orjson.dumps(to_document(event))
    type_name = named or ("" if isinstance(event, bytes) else event.data.type_name())
    stream = key or (SOME_STREAM if isinstance(event, bytes) else event.subject)
    record_key = key_of(stream)
    mac = AUTHENTICATOR.mac(topic.name, partition, *place, type_name.encode(), record_key, value)
    return ConsumerRecord(
        topic=topic.name,
        partition=partition,
        offset=offset,
        timestamp=1_700_000_000_000,
        timestamp_type=0,
        key=record_key,
        value=value,
        checksum=None,
        serialized_key_size=len(record_key),
        serialized_value_size=len(value),
        headers=[
            ("content-type", STRUCTURED.encode()),
            ("ce_type", type_name.encode()),
            ("ce_position", str(place[0]).encode()),
            ("ce_previous", str(place[1]).encode()),
            (MAC_HEADER, mac),
        ],
    )


async def publish(bootstrap: str, records: Sequence[ConsumerRecord]) -> None:
    """Send records as they are, in order; their offsets are the broker's."""
    async with kafka.producer(bootstrap) as producer:
        for r in records:
            await producer.send_and_wait(r.topic, r.value, r.key, r.partition, headers=list(r.headers))
