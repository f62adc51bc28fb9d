"""A projector on MongoDB: each event's effect once, whatever the topic repeats, and nothing skipped silently."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord, TopicPartition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record
from libs.platform.tests.purchases import PurchaseRow, TotalRow, counted, noted, purchases_of
from libs.platform.tests.shop import EVENTS

from crm_events.topics import Topic
from crm_platform import mongo
from crm_platform.cursor import Cursor, CursorMovedError
from crm_platform.delivery import Progress, Standing
from crm_platform.generations import Generation, Generations
from crm_platform.projection import Projection
from crm_platform.projection_parking import ProjectionParking
from crm_platform.projector import Projector
from crm_platform.testing import story_id
from crm_platform.wakeup import Wakeup

pytestmark = pytest.mark.integration

TOPIC = Topic("t.shop", partitions=3)
SUBJECT = story_id("purchase")
CHAIN = [as_record(TOPIC, n - 1, noted(SUBJECT, n), (n * 10, (n - 1) * 10)) for n in range(1, 7)]


class Reader:
    """One process's projector, given records as Kafka would give them."""

    def __init__(self, database: mongo.Database, topic: Topic = TOPIC) -> None:
        self._database = database
        self.projection = purchases_of(topic)
        self.projector = self._projector()
        self.places = [TopicPartition(topic.name, n) for n in range(topic.partitions)]
        self.standing = Standing({place: Cursor() for place in self.places})

    def _projector(self) -> Projector:
        return Projector(self.projection, EVENTS, self._database, AUTHENTICATOR, "", uuid4().hex, Wakeup())

    def deploy(self, release: Projection) -> None:
        """From now on that release reads, and resolves what is parked."""
        self.projection = release
        self.projector = self._projector()

    async def read(self, *records: ConsumerRecord, because: str | None = None) -> Progress:
        progress = await self.projector.apply(records, self.standing, because)
        self.standing.advance(progress)
        return progress

    async def restart(self) -> None:
        stored = await self.projector.standing(self.places)
        self.standing = Standing({place: Cursor() for place in self.places} | stored.cursors, stored.parked)

    def cursor(self, partition: int = 0) -> Cursor:
        return self.standing.cursors[self.places[partition]]

    def parking(self) -> ProjectionParking:
        return ProjectionParking(self.projection, EVENTS, self._database, AUTHENTICATOR, Wakeup())

    async def notes(self, subject: UUID = SUBJECT) -> list[str]:
        row = await self._collection(PurchaseRow).find_one({"_id": str(subject)})
        return row["notes"] if row else []

    async def total(self, partition: int = 0) -> int:
        place = f"{self.projection.topics[0].name}/{partition}"
        row = await self._collection(TotalRow).find_one({"_id": place})
        return row["count"] if row else 0

    def _collection(self, document: Any) -> mongo.Collection:
        return self._database[Generation(self.projection).collection_name(document)]


@pytest_asyncio.fixture
async def reader(database: mongo.Database) -> Reader:
    reader = Reader(database)
    await reader.projector.prepare()
    return reader


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_effect_happens_once_however_batches_repeat(data: st.DataObject, addresses: Any) -> None:
    ends = st.integers(0, len(CHAIN))
    batches = data.draw(st.lists(st.tuples(ends, ends, st.booleans()), max_size=5))
    shown = [(CHAIN[start:end], restarted) for start, end, restarted in batches if start < end]
    asyncio.run(_reads_once(addresses.mongodb_uri, [*shown, (CHAIN, True)]))


async def _reads_once(uri: str, batches: Sequence[tuple[Sequence[ConsumerRecord], bool]]) -> None:
    client = mongo.connect(uri)
    database = mongo.database(client, f"t_{uuid4().hex}")
    reader = Reader(database)
    await reader.projector.prepare()
    for records, restarted in batches:
        if restarted:
            await reader.restart()
        await reader.read(*records)
    assert await reader.notes() == ["1", "2", "3", "4", "5", "6"]
    assert await reader.total() == 6
    assert (reader.cursor().position, reader.cursor().gap) == (60, None)
    await client.drop_database(database.name)
    client.close()


async def test_behind_a_gap_nothing_is_applied_until_it_is_closed(reader: Reader) -> None:
    await reader.read(CHAIN[0], *CHAIN[2:4])
    assert await reader.notes() == ["1"]
    assert (reader.cursor().position, reader.cursor().gap, reader.cursor().next_offset) == (10, 10, 4)
    await reader.restart()
    assert reader.cursor().gap == 10
    again = [as_record(TOPIC, 6 + n, noted(SUBJECT, n + 1), (n * 10 + 10, n * 10)) for n in range(1, 6)]
    progress = await reader.read(*again)
    assert await reader.notes() == ["1", "2", "3", "4", "5", "6"]
    assert (reader.cursor().gap, progress.tally.outcomes) == (None, {(TOPIC.name, "applied"): 5})


async def test_types_that_are_not_handled_are_counted_by_name_in_the_cursor(reader: Reader) -> None:
    future = "crm.shop.PurchaseReturned.v1"
    document = b'{"type": "' + future.encode() + b'"}'
    await reader.read(
        as_record(TOPIC, 0, counted(SUBJECT, 1), (10, 0)),
        as_record(TOPIC, 1, document, (20, 10), named=future),
        as_record(TOPIC, 2, document, (30, 20), named=future),
        as_record(TOPIC, 3, document, (30, 20), named=future),
    )
    await reader.restart()
    assert reader.cursor().skipped == {"crm.shop.PurchaseCounted.v1": 1, future: 2}
    assert reader.cursor().position == 30


async def test_a_zombie_cannot_write(reader: Reader, database: mongo.Database) -> None:
    zombie = Reader(database)
    await reader.read(CHAIN[0])
    with pytest.raises(CursorMovedError):
        await zombie.read(*CHAIN[:3])
    await zombie.restart()
    await reader.read(*CHAIN[1:3])
    with pytest.raises(CursorMovedError):
        await zombie.read(*CHAIN[1:5])
    assert await reader.notes() == ["1", "2", "3"]
    assert await reader.total() == 3


async def test_what_is_written_to_is_made_ready_at_a_start_and_for_a_new_generation_not_at_each_rebalance(
    reader: Reader, database: mongo.Database
) -> None:
    first, generations = Generation(reader.projection), Generations(reader.projection, database)
    await database.drop_collection(first.collection_name(TotalRow))

    async def ready() -> set[str]:
        made = set(await database.list_collection_names())
        return {name for n in (1, 2) if (name := generations.of(n).collection_name(TotalRow)) in made}

    await reader.restart()
    assert await ready() == set(), "a rebalance asks for the cursors only"
    await reader.projector.prepare()
    assert await ready() == {first.collection_name(TotalRow)}
    second = await generations.begin()
    await mongo.in_transaction(database.client, lambda session: generations.switch(first, second, session))
    await reader.restart()
    assert await ready() == {each.collection_name(TotalRow) for each in (first, second)}


async def test_of_two_projectors_that_begin_together_one_writes(reader: Reader, database: mongo.Database) -> None:
    twins = [reader, Reader(database), Reader(database)]
    outcomes = await asyncio.gather(*(twin.read(*CHAIN) for twin in twins), return_exceptions=True)
    assert sorted(type(o).__name__ for o in outcomes) == ["CursorMovedError", "CursorMovedError", "Progress"]
    assert await reader.total() == len(CHAIN)


async def test_a_conflict_with_another_writer_is_tried_again(database: mongo.Database) -> None:
    """MongoDB ends the later of two transactions on one document; it is then done on what is there."""
    await mongo.ensure_collection(database, "counters", {})
    collection, attempts, loop = mongo.blocking(database["counters"]), [0, 0], asyncio.get_running_loop()

    def other(session: mongo.Session) -> None:
        attempts[0] += 1
        collection.update_one({"_id": 1}, {"$inc": {"n": 1}}, upsert=True, session=session)

    def overlapping(session: mongo.Session) -> None:
        attempts[1] += 1
        collection.find_one({"_id": 1}, session=session)
        if attempts[1] == 1:
            asyncio.run_coroutine_threadsafe(mongo.in_transaction(database.client, other), loop).result()
        collection.update_one({"_id": 1}, {"$inc": {"n": 1}}, upsert=True, session=session)

    await mongo.in_transaction(database.client, overlapping)
    assert attempts == [1, 2]
    row = await database["counters"].find_one({"_id": 1})
    assert row is not None
    assert row["n"] == 2


async def test_a_failed_transaction_leaves_neither_documents_nor_cursor(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("the process loses its database here")

    with monkeypatch.context() as patched:
        patched.setattr(mongo.Session, "commit_transaction", fails)
        with pytest.raises(OSError, match="loses its database"):
            await reader.read(*CHAIN)
    assert (await reader.notes(), await reader.total()) == ([], 0)
    assert (await reader.projector.standing(reader.places)).cursors == {}
