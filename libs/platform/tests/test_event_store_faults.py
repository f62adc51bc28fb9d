"""The event store when PostgreSQL, the link to it, or Kafka fails at the worst moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
from libs.platform.tests.kafka_topics import records_of
from libs.platform.tests.shop import MakePurchase, NotePurchase, make_purchase, note_purchase
from libs.platform.tests.shop_store import Shop, job, order
from libs.platform.tests.tcp_link import Link, link_to
from libs.platform.tests.waiting import eventually
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from crm_events.topics import KEYS
from crm_platform.command import Receipt
from crm_platform.errors import Unavailable
from crm_platform.event_store.connections import listening
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.sealing import InstallationKey, SubjectKey

pytestmark = pytest.mark.integration

OpenStore = Callable[..., Awaitable[Shop]]


@pytest_asyncio.fixture
async def link(postgres_uri: str) -> AsyncIterator[Link]:
    server = conninfo_to_dict(postgres_uri)
    async with link_to(str(server["host"]), int(str(server["port"]))) as link:
        yield link


@pytest_asyncio.fixture
async def linked_shop(open_store: OpenStore, postgres_uri: str, link: Link) -> Shop:
    """A shop that reaches PostgreSQL over the link; what the test asks directly goes around it."""
    shop = await open_store(make_conninfo(postgres_uri, port=link.port, sslmode="disable"))
    shop.uri = postgres_uri
    return shop


async def test_a_lost_answer_to_commit_stores_once_and_answers_with_success(linked_shop: Shop, link: Link) -> None:
    await linked_shop.note(uuid4())
    link.lose_answer_to(b"COMMIT")
    receipts = await asyncio.gather(*(linked_shop.make() for _ in range(5)))
    assert link.answers_lost == 1
    stored = linked_shop.stored()[1:]
    assert sorted(r.id for r in receipts) == sorted(row["originator_id"] for row in stored)
    assert all(r.version == 1 and r.positions for r in receipts)
    assert len(linked_shop.rows("SELECT 1 FROM subject_keys")) == 5


async def test_a_connection_lost_before_commit_is_decided_again(linked_shop: Shop, link: Link) -> None:
    await linked_shop.note(uuid4())
    link.lose_answer_to(b"LOCK TABLE")
    receipt = await linked_shop.note(uuid4())
    assert link.answers_lost == 1
    assert [row["originator_id"] for row in linked_shop.stored()[1:]] == [receipt.id]


async def test_while_postgresql_is_away_commands_are_answered_in_time_and_later_go_through(
    linked_shop: Shop, link: Link
) -> None:
    await linked_shop.note(uuid4())
    link.cut()
    asked = monotonic()
    answers = await asyncio.gather(*(linked_shop.note(uuid4()) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers), answers
    assert monotonic() - asked < 6
    link.mend()
    mended = monotonic()
    while not isinstance(await _try(linked_shop), Receipt):
        assert monotonic() - mended < 10, "it did not recover by itself"
    assert linked_shop.store.alive


async def test_a_link_that_swallows_everything_holds_the_writer_for_seconds_only(linked_shop: Shop, link: Link) -> None:
    await linked_shop.note(uuid4())
    link.swallow()
    asked = monotonic()
    answers = await asyncio.gather(*(linked_shop.note(uuid4()) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers), answers
    assert monotonic() - asked < 6
    link.mend()
    mended = monotonic()
    while not isinstance(await _try(linked_shop), Receipt):
        assert monotonic() - mended < 10, "it did not recover by itself"


async def test_a_commit_without_an_answer_is_found_done(linked_shop: Shop, link: Link) -> None:
    await linked_shop.note(uuid4())
    link.lose_answer_to(b"COMMIT", silently=True)
    receipt = await linked_shop.note(uuid4())
    assert link.answers_lost == 1
    assert [row["originator_id"] for row in linked_shop.stored()[1:]] == [receipt.id]


async def test_listening_hears_and_is_given_up_over_a_silent_link(postgres_uri: str, link: Link) -> None:
    uri = make_conninfo(postgres_uri, port=link.port, sslmode="disable")
    async with listening(uri, "news") as connection:
        with psycopg.connect(postgres_uri, autocommit=True) as writing:
            writing.execute("NOTIFY news")
        heard = [notice.channel async for notice in connection.notifies(timeout=5, stop_after=1)]
    assert heard == ["news"]
    link.swallow()
    asked = monotonic()
    with pytest.raises((psycopg.OperationalError, TimeoutError)):
        async with listening(uri, "news"):
            pass
    assert monotonic() - asked < 8


async def _try(shop: Shop) -> Receipt | Unavailable:
    try:
        return await shop.note(uuid4())
    except Unavailable as away:
        return away


async def test_a_command_nobody_waits_for_any_more_is_not_carried_out(shop: Shop) -> None:
    expired, wanted = (job(note_purchase, NotePurchase(), order()) for _ in range(2))
    expired.expired = True
    outcomes = await asyncio.to_thread(shop.committer.commands, [expired, wanted])
    assert isinstance(outcomes[expired], Unavailable)
    assert [row["originator_id"] for row in shop.stored()] == [wanted.order.target]


async def test_every_key_is_on_its_topic_before_it_is_given_to_anybody(keys: KafkaKeyPool, bootstrap: str) -> None:
    taken = await asyncio.to_thread(keys.take, 3)
    published = {record.key.decode() for record in await records_of(bootstrap, KEYS)}
    assert {str(key.id) for key in taken} <= published


class CountedPool(KafkaKeyPool):
    """Counts how often keys were asked for: each time may take seconds while Kafka is away."""

    asked = 0

    def take(self, count: int) -> list[SubjectKey]:
        self.asked += 1
        return super().take(count)


async def test_without_published_keys_only_what_needs_a_new_one_is_refused(
    open_store: OpenStore, installation: InstallationKey
) -> None:
    async with link_to("127.0.0.1", 1) as nowhere:
        nowhere.cut()
        pool = CountedPool(f"127.0.0.1:{nowhere.port}", installation, "shop")
        filling = asyncio.create_task(pool.run())
        shop = await open_store(pool=pool)
        await eventually(lambda: pool._loop is not None)
        made = job(make_purchase, MakePurchase(), order())
        noted = job(note_purchase, NotePurchase(), order())
        outcomes = await asyncio.to_thread(shop.committer.commands, [made, noted])
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
    assert isinstance(outcomes[made], Unavailable)
    assert isinstance(outcomes[noted], Receipt)
    assert pool.asked == 1
    assert [row["originator_id"] for row in shop.stored()] == [noted.order.target]
