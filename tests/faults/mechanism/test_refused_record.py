"""F08 at the relay: what Kafka has not taken is not counted as published, and nothing is stepped over."""

from uuid import uuid4

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from libs.platform.tests.kafka_topics import AUTHENTICATOR, administrator, records_of
from libs.platform.tests.shop_store import Shop
from libs.platform.tests.waiting import eventually, running

from crm_events.topics import Topic
from crm_platform.relay import Relay

LARGE = 20_000


@pytest.mark.row("F08", "Kafka refuses a record for a while", "I1 I2 I4")
async def test_a_record_that_kafka_refuses_is_not_counted_as_published(shop: Shop, bootstrap: str) -> None:
    await _take_at_most(bootstrap, shop.topic, LARGE // 2)
    large = uuid4()
    await shop.note(large, "x" * LARGE)
    await shop.note(large, "behind it")
    relay = Relay(shop.events, shop.uri, bootstrap, shop.topic, AUTHENTICATOR)
    async with running(relay.run):
        await eventually(lambda: relay._refused)
        assert not shop.rows("SELECT 1 FROM relay_checkpoint WHERE position > 0")
        assert not await records_of(bootstrap, shop.topic)
        await _take_at_most(bootstrap, shop.topic, LARGE * 10)
        newest = shop.stored()[-1]["notification_id"]
        await eventually(lambda: bool(shop.rows("SELECT 1 FROM relay_checkpoint WHERE position = %s", newest)))
    assert len(await records_of(bootstrap, shop.topic)) == 2


async def _take_at_most(bootstrap: str, topic: Topic, size: int) -> None:
    async with administrator(bootstrap) as admin:
        settings = {"max.message.bytes": str(size)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=settings)])
