"""F26 at the client library: a header whose name is not UTF-8 stops no reader of its partition."""

import pytest
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record, publish
from libs.platform.tests.purchases import PurchaseRow, noted, purchases_of
from libs.platform.tests.shop import EVENTS
from libs.platform.tests.waiting import eventually, running
from tests.faults.crafting import STANDS_FOR_A_NAME, Crafted, send

from crm_events.topics import Topic
from crm_platform import kafka, mongo
from crm_platform.generations import Generation
from crm_platform.projection_parking import ProjectionParking
from crm_platform.projector import Projector
from crm_platform.testing import story_id
from crm_platform.wakeup import Wakeup

CALM = story_id("calm")


@pytest.mark.row("F26", "a header whose name is not UTF-8", "I8, the partition flows")
async def test_a_header_name_that_is_not_text_stops_nobody(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    projection, applied = purchases_of(topic), Wakeup()
    await publish(bootstrap, [as_record(topic, 0, noted(CALM, 1), (1, 0))])
    async with kafka.producer(bootstrap) as producer:
        await send(producer, Crafted(topic.name, b"strange", b"{}", [("first", None), (STANDS_FOR_A_NAME, b"x")]))
    await publish(bootstrap, [as_record(topic, 0, noted(CALM, 2), (2, 1))])
    rows = database[Generation(projection).collection_name(PurchaseRow)]

    async def both_are_there() -> bool:
        row = await rows.find_one({"_id": str(CALM)})
        return row is not None and row["notes"] == ["1", "2"]

    async with running(Projector(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", applied).run):
        await eventually(both_are_there)
    (parked,) = await ProjectionParking(projection, EVENTS, database, AUTHENTICATOR, applied).keys()
    assert (parked.first.key, parked.first.value) == ("strange", b"{}")
    assert [name for name, _ in parked.first.headers] == ["first", r"\xff\xfe" * 10]
