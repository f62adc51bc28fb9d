"""F02, F03, F04 at the parts themselves: each dies at a crash point, and its successor carries on."""

from collections.abc import Awaitable, Callable
from typing import NoReturn
from uuid import UUID, uuid4

import pytest
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record, publish, records_of
from libs.platform.tests.purchases import PurchaseRow, TotalRow, noted, purchases_of
from libs.platform.tests.shop import EVENTS, NotePurchase, note_purchase
from libs.platform.tests.shop_store import Shop, clients_order
from libs.platform.tests.waiting import eventually, running
from tests.faults.invariants import applied_of
from tests.faults.reality import as_published

from crm_events.topics import Topic
from crm_platform import crash_points, mongo
from crm_platform.crash_points import CrashPoint
from crm_platform.errors import Unavailable
from crm_platform.event_store import store as store_module
from crm_platform.generations import Generation
from crm_platform.projection import Projection
from crm_platform.projector import Projector
from crm_platform.relay import Relay
from crm_platform.testing import story_id
from crm_platform.wakeup import Wakeup

EVENTS_EACH = 20
OrderCrash = Callable[[CrashPoint], None]


class DiedError(BaseException):
    """The process is gone: nobody may catch this."""


@pytest.fixture
def dies_at(monkeypatch: pytest.MonkeyPatch) -> OrderCrash:
    """The next one that comes to the point dies, in place of the process; its successor passes."""

    def die(code: int) -> NoReturn:
        raise DiedError(code)

    def order(point: CrashPoint) -> None:
        monkeypatch.setattr(crash_points, "_point", point.value)
        monkeypatch.setattr(crash_points, "_remaining", 1)

    monkeypatch.setattr("os._exit", die)
    return order


def _relay(shop: Shop, bootstrap: str) -> Relay:
    return Relay(shop.events, shop.uri, bootstrap, shop.topic, AUTHENTICATOR)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("point", [CrashPoint.COMMAND_DECIDED, CrashPoint.COMMAND_APPENDED])
@pytest.mark.row("F02", "the writer dies; the client repeats with its key", "I1 I2")
async def test_a_command_whose_process_died_is_carried_out_once(
    open_store: Callable[..., Awaitable[Shop]],
    dies_at: OrderCrash,
    monkeypatch: pytest.MonkeyPatch,
    point: CrashPoint,
) -> None:
    monkeypatch.setattr(store_module, "ANSWER_SECONDS", 1.0)
    dying, given = await open_store(), clients_order()
    dies_at(point)
    with pytest.raises(Unavailable):
        await dying.store.run(note_purchase, NotePurchase(), given)
    assert not dying.store.alive
    successor = await open_store()
    receipts = [await successor.store.run(note_purchase, NotePurchase(), given) for _ in range(2)]
    assert receipts[0] == receipts[1]
    assert [row["originator_version"] for row in successor.stored()] == [1]


@pytest.mark.parametrize("point", [point for point in CrashPoint if point.value.startswith("relay.")])
@pytest.mark.row("F03", "the relay dies; another follows", "I1 I2 I4")
async def test_a_relay_that_died_is_followed_without_loss(
    shop: Shop, bootstrap: str, dies_at: OrderCrash, point: CrashPoint
) -> None:
    streams = [uuid4() for _ in range(4)]
    await _note_all(shop, streams)
    dies_at(point)
    with pytest.raises(DiedError):
        await _relay(shop, bootstrap).run()
    await _note_all(shop, streams)
    newest = shop.stored()[-1]["notification_id"]

    def caught_up() -> bool:
        return [row["position"] for row in shop.rows("SELECT position FROM relay_checkpoint")] == [newest]

    async with running(_relay(shop, bootstrap).run):
        await eventually(caught_up)
    records = [as_published(record) for record in await records_of(bootstrap, shop.topic)]
    stored = {row["notification_id"]: bytes(row["state"]) for row in shop.stored()}
    assert applied_of(records) == sorted(stored)
    assert all(record.value == stored[record.position] for record in records)


async def _note_all(shop: Shop, streams: list[UUID]) -> None:
    for n in range(EVENTS_EACH):
        await shop.note(streams[n % len(streams)], str(n))


@pytest.mark.parametrize("point", [point for point in CrashPoint if point.value.startswith("projector.")])
@pytest.mark.row("F04", "the projector dies; another follows", "I3 I5")
async def test_a_projector_that_died_is_followed_without_loss(
    database: mongo.Database, topic: Topic, bootstrap: str, dies_at: OrderCrash, point: CrashPoint
) -> None:
    projection, subject = purchases_of(topic), story_id("purchase")
    await publish(bootstrap, [as_record(topic, 0, noted(subject, n), (n, n - 1)) for n in range(1, EVENTS_EACH + 1)])
    dies_at(point)
    with pytest.raises(DiedError):
        await _projector(projection, database, bootstrap).run()

    async def complete() -> bool:
        row = await database[Generation(projection).collection_name(PurchaseRow)].find_one({"_id": str(subject)})
        return row is not None and len(row["notes"]) >= EVENTS_EACH

    async with running(_projector(projection, database, bootstrap).run):
        await eventually(complete)
    row = await database[Generation(projection).collection_name(PurchaseRow)].find_one({"_id": str(subject)})
    total = await database[Generation(projection).collection_name(TotalRow)].find_one()
    assert row is not None
    assert total is not None
    assert row["notes"] == [str(n) for n in range(1, EVENTS_EACH + 1)]
    assert total["count"] == EVENTS_EACH


def _projector(projection: Projection, database: mongo.Database, bootstrap: str) -> Projector:
    return Projector(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", Wakeup())
