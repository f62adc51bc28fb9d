"""F33 at the consumer: however far the producers are ahead, it takes on a bounded amount."""

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka import ConsumerRecord
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record
from libs.platform.tests.purchases import TotalRow, noted, purchases_of
from libs.platform.tests.shop import EVENTS
from libs.platform.tests.waiting import eventually, running

from crm_events.topics import Topic
from crm_platform import kafka, mongo
from crm_platform.consumer import BATCH_BYTES
from crm_platform.delivery import Progress, Standing
from crm_platform.generations import Generation
from crm_platform.projector import Projector
from crm_platform.testing import story_id
from crm_platform.wakeup import Wakeup

AHEAD = 6_000
MOST_RECORDS = 2_000
PILES_UP_SECONDS = 0.5
"""A batch takes at least so long, while more is fetched."""


class Counting(Projector):
    """Tells how much it takes on at once."""

    async def apply(
        self, records: Sequence[ConsumerRecord], standing: Standing, because: str | None = None
    ) -> Progress:
        self.batches = [*getattr(self, "batches", []), (len(records), sum(len(r.value) for r in records))]
        await asyncio.sleep(PILES_UP_SECONDS)
        return await super().apply(records, standing, because)


@pytest.mark.row("F33", f"a producer {AHEAD} events ahead", "a batch holds at most 2,000 events and 4 MiB")
async def test_a_batch_is_bounded(database: mongo.Database, topic: Topic, bootstrap: str) -> None:
    projection = purchases_of(topic)
    async with kafka.producer(bootstrap, linger_ms=20) as producer:
        for n in range(AHEAD):
            partition, number = n % topic.partitions, n // topic.partitions + 1
            r = as_record(topic, 0, noted(story_id(str(n)), 1), (number, number - 1), partition=partition)
            await producer.send(r.topic, r.value, r.key, r.partition, headers=list(r.headers))
        await producer.flush()
    projector = Counting(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup())

    async def all_counted() -> bool:
        rows = await database[Generation(projection).collection_name(TotalRow)].find().to_list(None)
        counted: int = sum(row["count"] for row in rows)
        return counted == AHEAD

    async with running(projector.run):
        await eventually(all_counted, within=60)
    assert max(records for records, _ in projector.batches) <= MOST_RECORDS
    assert max(size for _, size in projector.batches) <= BATCH_BYTES
