"""A read model is rebuilt while it is written to and read: nobody sees an error, or a step back in time."""

import asyncio

import pytest
import pytest_asyncio
from libs.platform.tests.purchases import POISON, PurchaseRow, TotalRow, purchases_of
from libs.platform.tests.rebuild.site import Watcher, Workshop
from libs.platform.tests.waiting import eventually, running

from crm_events.topics import Topic
from crm_platform import mongo
from crm_platform.generations import Generation, Standings
from crm_platform.rebuild.refusals import RebuildRefusedError
from crm_platform.testing import story_id

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def shop(database: mongo.Database, topic: Topic, bootstrap: str) -> Workshop:
    return Workshop(purchases_of(topic, keeps_history=True), topic, database, bootstrap)


async def test_a_rebuild_under_traffic_is_seen_by_no_reader(shop: Workshop) -> None:
    await shop.publish(3_000)
    watchers = [Watcher(shop, n / 5) for n in range(5)]
    async with running(shop.projector().run):
        await shop.caught_up()
        async with running(shop.flow, *(lambda w=w: w.watch(watchers) for w in watchers)):
            await eventually(lambda: all(watcher.looks > 20 for watcher in watchers))
            await shop.rebuilding().rebuild()
            after = shop.sent + 50
            await eventually(lambda: all(watcher.furthest > after for watcher in watchers))
        await shop.caught_up()
    assert [watcher.generations for watcher in watchers] == [[1, 2]] * 5
    assert shop.told.of("compared")[0]["differences"] == 0
    total = await shop.database[Generation(shop.projection, 2).collection_name(TotalRow)].find_one()
    assert total is not None
    assert total["count"] == shop.sent, "nothing is lost, nothing is counted twice"
    assert await shop.generations.standings() == Standings(live=2, previous=1, newest=2)
    assert await shop.indexes(2) == await shop.indexes(1)


async def test_the_generation_before_is_kept_to_go_back_to_and_dropped_on_demand(shop: Workshop) -> None:
    await shop.publish(500)
    async with running(shop.projector().run):
        await shop.caught_up()
        await shop.rebuilding().rebuild()
        await shop.publish(100)
        await shop.caught_up()
        with pytest.raises(RebuildRefusedError, match="--drop"):
            await shop.rebuilding().rebuild()
        watcher = Watcher(shop)
        async with running(lambda: watcher.watch([watcher])):
            await eventually(lambda: watcher.furthest == 600)
            await shop.rebuilding().rollback()
            await shop.publish(10)
            await eventually(lambda: watcher.furthest == 610)
        assert await shop.generations.standings() == Standings(live=1, previous=2, newest=2)
        await shop.rebuilding().drop()
    assert await shop.rows(2) == []
    assert not [name for name in await shop.collections() if name.startswith(Generation(shop.projection, 2).identity)]
    with pytest.raises(RebuildRefusedError, match="no generation before"):
        await shop.rebuilding().drop()
    with pytest.raises(RebuildRefusedError, match="no generation to go back to"):
        await shop.rebuilding().rollback()


async def test_a_rebuild_that_died_goes_on_where_it_was(shop: Workshop) -> None:
    await shop.publish(6_000)
    async with running(shop.projector().run):
        await shop.caught_up()
        dying = asyncio.create_task(shop.rebuilding().rebuild())
        await eventually(lambda: any(done > 0 for done in shop.told.done))
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        assert (await shop.generations.standings()).live == 1
        first = len(shop.told.done)
        await shop.rebuilding().rebuild()
    assert shop.told.done[first] > 2_000, "what was filled is not filled again"
    assert (await shop.generations.standings()).live == 2
    assert await shop.rows(2) == await shop.rows(1)


async def test_two_rebuilds_at_once_do_not_mix(shop: Workshop) -> None:
    await shop.publish(6_000)
    async with running(shop.projector().run):
        await shop.caught_up()
        both = await asyncio.gather(shop.rebuilding().rebuild(), shop.rebuilding().rebuild(), return_exceptions=True)
    refused = [outcome for outcome in both if outcome is not None]
    assert len(refused) <= 1
    assert all(isinstance(outcome, RebuildRefusedError | mongo.MongoError) for outcome in refused), refused
    assert await shop.rows(2) == await shop.rows(1)


async def test_a_damaged_document_is_named_and_a_rebuild_does_not_pass_over_it(shop: Workshop) -> None:
    await shop.publish(200)
    damaged, lost = str(story_id("key 3")), str(story_id("key 4"))
    rows = shop.database[Generation(shop.projection).collection_name(PurchaseRow)]
    async with running(shop.projector().run):
        await shop.caught_up()
        await rows.update_one({"_id": damaged}, {"$set": {"notes": ["wrong"]}})
        await rows.delete_one({"_id": lost})
        await rows.insert_one({"_id": "nobody"})
        with pytest.raises(RebuildRefusedError, match="3 documents"):
            await shop.rebuilding().rebuild()
        named = {(line["id"], *line["fields"]) for line in shop.told.of("difference")}
        assert named == {
            (damaged, "notes"),
            (lost, "the whole document: it is missing"),
            ("nobody", "the whole document: it should not be there"),
        }
        assert (await shop.generations.standings()).live == 1, "nothing is switched"
        await shop.rebuilding().rebuild(accept_differences=True)
        found = await (await shop.reader().current()).find(PurchaseRow, {"_id": damaged})
        assert len(found[0].notes) == 10
        assert await shop.rebuilding().verify() == 0


async def test_verifying_leaves_nothing_behind(shop: Workshop) -> None:
    await shop.publish(200)
    async with running(shop.projector().run):
        await shop.caught_up()
        before = await shop.collections()
        assert await shop.rebuilding().verify() == 0
        await shop.database[Generation(shop.projection).collection_name(TotalRow)].update_one(
            {}, {"$inc": {"count": 1}}
        )
        assert await shop.rebuilding().verify() == 1
    (line,) = shop.told.of("difference")
    assert (line["collection"], line["fields"]) == ("totals", ["count"])
    assert set(await shop.collections()) - set(before) <= {"transaction_sessions", "discarded_events"}
    assert await shop.generations.standings() == Standings(newest=3)


async def test_a_discarded_event_stays_discarded_and_a_parked_one_parked(shop: Workshop) -> None:
    await shop.publish(100, poisoned=41, poison=POISON)
    async with running(shop.projector().run):
        await shop.caught_up()
        lot = shop.parking()
        (key,) = await lot.keys()
        await lot.discard(shop.topic.name, key.first.key, actor="op", reason="sent by mistake", everything=True)
        await shop.publish(100, poisoned=143, poison=POISON)
        await shop.caught_up()
        await shop.rebuilding().rebuild()
        assert [key.first.key for key in await lot.keys()] == [str(story_id("key 3"))]
        mended = purchases_of(shop.topic, keeps_history=True, counted=_counts_all)
        again = await shop.parking(mended).retry(shop.topic.name, str(story_id("key 3")))
        assert (again.remaining, again.reason) == (0, None)
        assert await lot.keys() == []


def _counts_all(self: object, row: TotalRow | None, event: object) -> TotalRow:  # noqa: ARG001 - a fold's signature
    return TotalRow(id="", count=(row.count if row else 0) + 1)


async def test_a_read_model_that_was_never_written_is_rebuilt(shop: Workshop) -> None:
    await shop.rebuilding().rebuild()
    async with running(shop.projector().run):
        await shop.publish(10)
        await shop.caught_up()
    assert len(await shop.rows(2)) == 11
    assert await shop.rows(1) == []
