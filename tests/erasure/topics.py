"""What a topic holds, also one whose earlier records Kafka has dropped."""

from aiokafka import ConsumerRecord, TopicPartition

from crm_events.topics import Topic
from crm_platform import kafka


async def records_of(bootstrap: str, topic: Topic) -> list[ConsumerRecord]:
    """All of them, in order within each partition."""
    async with kafka.reader(bootstrap) as client:
        ends = await kafka.end_offsets(client, topic.name, topic.partitions)
        unread = {TopicPartition(topic.name, number): end for number, end in ends.items() if end}
        found: list[ConsumerRecord] = []
        client.assign(list(unread))
        await client.seek_to_beginning()
        while unread:
            for records in (await client.getmany(timeout_ms=200)).values():
                found.extend(records)
            unread = {place: end for place, end in unread.items() if await client.position(place) < end}
        return found
