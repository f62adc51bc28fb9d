"""F11: what a batch does takes longer than the group lets a member be silent."""

import asyncio
from collections.abc import Iterable, Sequence

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record, publish
from libs.platform.tests.purchases import TotalRow, noted, purchases_of
from libs.platform.tests.shop import EVENTS
from libs.platform.tests.waiting import eventually, running

from crm_events.topics import Topic
from crm_platform import consumer, mongo
from crm_platform.delivery import Progress, Standing
from crm_platform.generations import Generation
from crm_platform.projector import Projector
from crm_platform.testing import story_id
from crm_platform.wakeup import Wakeup

MAX_POLL_SECONDS = 2
SLOW_SECONDS = 5
EVENTS_EACH = 5


class Slow(Projector):
    """Its first batch takes long."""

    assignments = 0
    slept = False

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.assignments += 1
        await super().on_partitions_assigned(assigned)

    async def apply(
        self, records: Sequence[ConsumerRecord], standing: Standing, because: str | None = None
    ) -> Progress:
        if not self.slept:
            self.slept = True
            await asyncio.sleep(SLOW_SECONDS)
        return await super().apply(records, standing, because)


@pytest.mark.row(
    "F11", f"a batch takes {SLOW_SECONDS} s where {MAX_POLL_SECONDS} s are allowed", "I3, no livelock, few rebalances"
)
async def test_a_handler_slower_than_the_group_allows_makes_progress(
    database: mongo.Database, topic: Topic, bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "MAX_POLL_MILLISECONDS", MAX_POLL_SECONDS * 1_000)
    monkeypatch.setattr(consumer, "SESSION_MILLISECONDS", 6_000)
    projection = purchases_of(topic)
    await publish(
        bootstrap,
        [
            as_record(topic, 0, noted(story_id(f"{partition}"), n), (n, n - 1), partition=partition)
            for partition in range(topic.partitions)
            for n in range(1, EVENTS_EACH + 1)
        ],
    )
    slow = Slow(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup())

    async def all_counted() -> bool:
        rows = await database[Generation(projection).collection_name(TotalRow)].find().to_list(None)
        return [row["count"] for row in rows] == [EVENTS_EACH] * topic.partitions

    async with running(slow.run):
        await eventually(all_counted, within=SLOW_SECONDS * 4)
    assert slow.slept
    assert slow.assignments <= 3
