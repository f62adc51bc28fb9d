"""Questions to a read model: waiting for one's own write, pages, freshness."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from fastapi import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from libs.platform.tests.purchases import PurchaseRow, purchases_of
from libs.platform.tests.shop import EVENTS

from crm_events.topics import Topic
from crm_local.plan import Addresses
from crm_platform import live_read_model, mongo
from crm_platform.cursor import Cursor, Cursors
from crm_platform.errors import NotFound, Unavailable
from crm_platform.folding import to_row
from crm_platform.generations import Generation
from crm_platform.http.paging import CursorSigner, PageRequest
from crm_platform.keyring import Keyring
from crm_platform.live_read_model import LiveReadModel
from crm_platform.mongo_cursors import MongoCursors
from crm_platform.projection import Projection
from crm_platform.read_model import ReadModel
from crm_platform.sealing import InstallationKey
from crm_platform.testing import SOME_TIME, story_id
from crm_platform.wakeup import Wakeup

pytestmark = pytest.mark.integration

TOPIC = Topic("t.shop", partitions=2)
PLACE = TopicPartition(TOPIC.name, 1)
STREAM = str(story_id("answer"))
MANY = 100
SIGNER = CursorSigner(b"k" * 32, b"query")


class Kept:
    """A read model, and the hand that writes it."""

    def __init__(self, database: mongo.Database, **members: Any) -> None:
        self.projection: Projection = purchases_of(TOPIC, **members)
        self.applied = Wakeup()
        keyring = Keyring(database, InstallationKey(b"i" * 32), "", "", Wakeup())
        self.model = ReadModel(Generation(self.projection), database, EVENTS, keyring)
        self.live = LiveReadModel(self.projection, database, EVENTS, keyring, self.applied)
        self._cursors = MongoCursors(database, self.projection.identity)
        self._database = database

    async def move(self, position: int, recorded_at: datetime = SOME_TIME) -> None:
        before: Cursors = {PLACE: Cursor()} | await self._cursors.load([PLACE])
        after = {PLACE: before[PLACE].after(position).applied(position, recorded_at)}
        await mongo.in_transaction(self._database.client, lambda session: self._cursors.move(before, after, session))

    async def add(self, *rows: PurchaseRow) -> None:
        await self.model.collection(PurchaseRow).insert_many([to_row(row) for row in rows])


@pytest_asyncio.fixture
async def kept(database: mongo.Database) -> Kept:
    return Kept(database)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_read_model, "WAIT_SECONDS", 0.2)


async def test_a_read_waits_until_the_position_is_applied(kept: Kept) -> None:
    await kept.move(3)
    waiting = asyncio.create_task(kept.live.after([f"{TOPIC.name}/1@7"]))
    await kept.move(6)
    kept.applied.set()
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    await kept.move(7)
    kept.applied.set()
    async with asyncio.timeout(2):
        await waiting


async def test_a_read_also_sees_what_another_process_applied(kept: Kept) -> None:
    waiting = asyncio.create_task(kept.live.after([f"{TOPIC.name}/1@7"]))
    await kept.move(8)
    async with asyncio.timeout(2):
        await waiting


@pytest.mark.usefixtures("impatient")
async def test_a_read_whose_write_does_not_show_is_refused_in_time(kept: Kept) -> None:
    await kept.move(6)
    asked = monotonic()
    with pytest.raises(Unavailable, match="CRM-After"):
        await kept.live.after([f"{TOPIC.name}/1@6", f"{TOPIC.name}/1@7"])
    assert monotonic() - asked < 2


@pytest.mark.usefixtures("impatient")
async def test_what_the_read_model_does_not_follow_is_no_concern_of_it(kept: Kept) -> None:
    await kept.live.after(["crm.elsewhere/0@99", f"{STREAM}@1"])


@pytest.mark.usefixtures("impatient")
async def test_a_read_waits_for_an_answer_that_the_read_model_shows(database: mongo.Database) -> None:
    kept = Kept(database, answers=(PurchaseRow,))
    await kept.add(PurchaseRow(id=STREAM, version=1))
    await kept.live.after([f"{STREAM}@1"])
    with pytest.raises(Unavailable):
        await kept.live.after([f"{STREAM}@2"])


@pytest.mark.usefixtures("impatient")
async def test_a_read_waits_while_a_row_says_that_it_still_awaits_the_answer(database: mongo.Database) -> None:
    def pending(_: Projection, stream: str) -> list[tuple[type[PurchaseRow], Mapping[str, Any]]]:
        return [(PurchaseRow, {"kind": stream})]

    kept = Kept(database, pending_filter=pending)
    await kept.live.after([f"{STREAM}@1"])
    await kept.add(PurchaseRow(id="asking", kind=STREAM))
    with pytest.raises(Unavailable):
        await kept.live.after([f"{STREAM}@1"])
    await kept.model.collection(PurchaseRow).update_one({"_id": "asking"}, {"$set": {"kind": "answered"}})
    await kept.live.after([f"{STREAM}@1"])


async def test_freshness_is_told_by_topic(kept: Kept) -> None:
    assert (await kept.model.freshness())[TOPIC.name].recorded_at is None
    await kept.move(6)
    fresh = (await kept.model.freshness())[TOPIC.name]
    assert (fresh.position, fresh.recorded_at) == ({"1": 6}, SOME_TIME)
    assert fresh.age_seconds is not None
    assert fresh.age_seconds > 0


async def test_what_is_not_there_is_not_found(kept: Kept) -> None:
    with pytest.raises(NotFound, match="no purchase"):
        await kept.model.get(PurchaseRow, uuid4())


async def _all_pages(kept: Kept, limit: int, where: Mapping[str, object]) -> list[list[PurchaseRow]]:
    pages: list[list[PurchaseRow]] = []
    cursor: str | None = None
    while len(pages) < MANY:
        after = SIGNER.read(cursor) if cursor else None
        request = PageRequest(limit, after, SIGNER, Response())
        page = await kept.model.page(PurchaseRow, request, where, newest_by="noted_at")
        pages.append(page.items)
        cursor = page.next
        if cursor is None:
            return pages
    raise AssertionError("the pages never end")


rows = st.lists(
    st.builds(
        lambda id_, minutes, kind: PurchaseRow(id=id_, noted_at=SOME_TIME + timedelta(minutes=minutes), kind=kind),
        st.uuids().map(str),
        st.integers(0, 3),
        st.sampled_from("abc"),
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda row: row.id,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=rows, limit=st.integers(1, 6))
def test_pages_hold_each_match_once_newest_first(addresses: Addresses, found: list[PurchaseRow], limit: int) -> None:
    asyncio.run(_pages_partition(addresses.mongodb_uri, found, limit))


async def _pages_partition(uri: str, found: list[PurchaseRow], limit: int) -> None:
    client = mongo.connect(uri)
    database = mongo.database(client, f"t_{uuid4().hex}")
    kept = Kept(database)
    await kept.add(*found)
    pages = await _all_pages(kept, limit, {"$or": [{"kind": "a"}, {"kind": "b"}]})
    matching = sorted((r for r in found if r.kind in "ab"), key=lambda r: (r.noted_at, r.id), reverse=True)
    assert [row for page in pages for row in page] == matching
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages) == max(1, -(-len(matching) // limit))
    await client.drop_database(database.name)
    client.close()
