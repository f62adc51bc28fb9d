"""Declares the topics at the broker: `python -m crm_platform.topics`. Doing it again changes nothing."""

import asyncio
import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from crm_events.topics import MAX_MESSAGE_BYTES, TOPICS, Topic
from crm_platform.backoff import Backoff

SETTLE_SECONDS = 15.0
SEGMENT_SECONDS = 3600.0
"""How long Kafka writes to one file of a topic that is purged, or compacted so that keys can be destroyed."""
_OF_THE_TOPIC = 1
"""The source of a setting, as Kafka's protocol numbers them: set for this topic, no default."""


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
    if topic.compacted:
        # What a mark has replaced leaves the disk within this time, once something is written behind it.
        settings["max.compaction.lag.ms"] = _milliseconds(SEGMENT_SECONDS)
    if topic.retention_ms is not None:
        # Others write it: neither the purge nor the retention is to depend on what they take for the time.
        settings["message.timestamp.type"] = "LogAppendTime"
        settings["segment.ms"] = _milliseconds(SEGMENT_SECONDS)
    return settings


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


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
        await _configure(admin)
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


async def _configure(admin: AIOKafkaAdminClient) -> None:
    """Give topics of an earlier release the settings that are declared now; those that nobody declares stay."""
    wanted = {topic.name: settings_of(topic) for topic in TOPICS}
    present = await _settings(admin, wanted)
    changed = [
        ConfigResource(ConfigResourceType.TOPIC, name, {**present[name], **settings})
        for name, settings in wanted.items()
        if not settings.items() <= present[name].items()
    ]
    if changed:
        for response in await admin.alter_configs(changed):
            for error_code, error, *_ in response.resources:
                if error_code:
                    raise for_code(error_code)(error)


async def _settings(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """What is set for each of the topics itself: changing anything sets all that anew."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found = {}
    for response in await admin.describe_configs(resources):
        for error_code, error, _, name, entries in response.resources:
            if error_code:
                raise for_code(error_code)(error)
            found[name] = {setting: value for setting, value, _, source, *_ in entries if source == _OF_THE_TOPIC}
    return found


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
