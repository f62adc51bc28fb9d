"""Topics of a benchmark: new ones, and all that one holds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from benchmarks.site import Site
from crm_events.topics import Topic
from crm_platform import kafka
from crm_platform.consumer import BATCH_BYTES, BATCH_RECORDS


@asynccontextmanager
async def new(site: Site) -> AsyncIterator[Topic]:
    """An empty topic, deleted in the end."""
    topic = Topic(f"bench.{uuid4().hex}")
    await site.create_topic(topic)
    try:
        yield topic
    finally:
        await site.delete_topic(topic)


async def batches(bootstrap: str, topic: Topic) -> AsyncIterator[list[ConsumerRecord]]:
    """All that the topic holds now, in batches of the platform's size, read by a bare consumer."""
    client = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_bytes=BATCH_BYTES,
        max_partition_fetch_bytes=BATCH_BYTES,
    )
    await client.start()
    try:
        ends = await kafka.end_offsets(client, topic.name, topic.partitions)
        left = sum(ends.values())
        client.assign([TopicPartition(topic.name, number) for number in ends])
        while left:
            found = await client.getmany(timeout_ms=1_000, max_records=BATCH_RECORDS)
            batch = [record for records in found.values() for record in records]
            left -= len(batch)
            if batch:
                yield batch
    finally:
        await client.stop()


async def records_of(bootstrap: str, topic: Topic) -> list[ConsumerRecord]:
    return [record async for batch in batches(bootstrap, topic) for record in batch]
