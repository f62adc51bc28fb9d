"""Declares the topics at the broker: `python -m crm_platform.topics`. Doing it again changes nothing."""

import asyncio
import os
import sys
from contextlib import suppress

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from crm_events.topics import MAX_MESSAGE_BYTES, TOPICS, Topic
from crm_platform.backoff import Backoff

SETTLE_SECONDS = 15.0


def settings_of(topic: Topic) -> dict[str, str]:
    """The topic's configuration at the broker."""
    settings = {
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "unclean.leader.election.enable": "false",
        "cleanup.policy": "compact" if topic.compacted else "delete",
    }
    if not topic.compacted:
        settings["retention.ms"] = str(-1 if topic.retention_ms is None else topic.retention_ms)
        settings["retention.bytes"] = "-1"
    return settings


async def declare(bootstrap: str, replication: int = 1) -> list[str]:
    """Create the topics that do not exist; returns their names. Raises KafkaError, or ValueError where one differs."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        present = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if topic.name not in present]
        new = [NewTopic(t.name, t.partitions, replication, topic_configs=settings_of(t)) for t in missing]
        if new:
            # Another process may declare them at the same time; they are what both want.
            with suppress(TopicAlreadyExistsError):
                await admin.create_topics(new)
        await _check(admin)
        return [topic.name for topic in missing]
    finally:
        await admin.close()


async def _check(admin: AIOKafkaAdminClient) -> None:
    """Partition counts never change in place: keys would move."""
    described = await _partition_counts(admin)
    for topic in TOPICS:
        if described.get(topic.name, topic.partitions) != topic.partitions:
            raise ValueError(
                f"{topic.name} has {described[topic.name]} partitions, declared are {topic.partitions};"
                " partition counts never change in place"
            )


async def _partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """By topic; one that was just created has no partitions for a moment. Raises TimeoutError if it stays so."""
    backoff = Backoff(first=0.05, most=1.0)
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            described = await admin.describe_topics([topic.name for topic in TOPICS])
            counts = {each["topic"]: len(each["partitions"]) for each in described}
            if all(counts.values()):
                return counts
            await backoff.wait()


def main() -> int:
    """Exit 0 when all topics stand, 1 with a reason when not."""
    bootstrap = os.environ.get("CRM_KAFKA_BOOTSTRAP")
    if not bootstrap:
        sys.stderr.write("CRM_KAFKA_BOOTSTRAP must name a broker, as host:port.\n")
        return 1
    try:
        created = asyncio.run(declare(bootstrap, int(os.environ.get("CRM_KAFKA_REPLICATION", "1"))))
    except (KafkaError, OSError, ValueError) as failure:
        sys.stderr.write(f"The topics cannot be declared at {bootstrap}: {failure}\n")
        return 1
    sys.stdout.write(f"Topics created: {', '.join(created)}\n" if created else "All topics exist.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
