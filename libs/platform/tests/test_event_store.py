"""The event store on PostgreSQL: what a command leaves there, and how it is answered."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID, uuid4

import orjson
import pytest
from libs.platform.tests.shop import (
    Customer,
    MakePurchase,
    NotePurchase,
    Purchase,
    count_purchase,
    make_purchase,
    note_purchase,
)
from libs.platform.tests.shop_store import Shop, clients_order, job, order

from crm_events.envelope import event_id
from crm_platform.command import Receipt
from crm_platform.errors import KeyReused, NotAllowed, TooLarge
from crm_platform.event_store.committer import Job
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.partitioning import partition_of
from crm_platform.sealing import SubjectKey
from crm_platform.work import UnitOfWork

pytestmark = pytest.mark.integration

OpenStore = Callable[..., Awaitable[Shop]]


async def test_a_stored_event_is_a_cloudevents_document_with_its_personal_block_sealed(shop: Shop) -> None:
    receipt = await shop.make(name="Ada Lovelace")
    (row,) = shop.stored()
    document = orjson.loads(row["state"])
    assert document["specversion"] == "1.0"
    assert document["id"] == str(event_id(receipt.id, 1))
    assert (document["type"], document["subject"], document["sequence"]) == (row["topic"], str(receipt.id), "1")
    assert document["data"]["customer"].keys() == {"event", "subject", "key", "box"}
    assert b"Lovelace" not in b"".join(repr(row).encode() for row in shop.stored())


async def test_a_receipt_names_the_last_published_event_of_each_partition(shop: Shop) -> None:
    made = await shop.make()
    noted = await shop.note(made.id)
    counted = await shop.store.run(count_purchase, NotePurchase(), order(made.id))
    positions = [row["notification_id"] for row in shop.stored()]
    place = f"{shop.topic.name}/{partition_of(made.id, shop.topic.partitions)}"
    assert (made.version, made.positions) == (1, (f"{place}@{positions[0]}",))
    assert (noted.version, noted.positions) == (2, (f"{place}@{positions[1]}",))
    assert (counted.version, counted.positions) == (3, ()), "a private event is never published"


async def test_a_reply_is_stored_in_the_transaction_of_its_events(shop: Shop) -> None:
    await shop.store.run(make_purchase, MakePurchase(), clients_order())
    (event,) = shop.stored()
    (reply,) = shop.rows("SELECT xmin::text AS transaction FROM replies")
    (key,) = shop.rows("SELECT xmin::text AS transaction FROM subject_keys")
    assert event["transaction"] == reply["transaction"] == key["transaction"]


async def test_a_clients_id_is_carried_out_once_and_answered_alike(shop: Shop) -> None:
    given = clients_order()
    first = await shop.store.run(make_purchase, MakePurchase(), given)
    assert await shop.store.run(make_purchase, MakePurchase(), given) == first
    assert len(shop.stored()) == 1


async def test_fifty_equal_commands_at_once_are_carried_out_once(shop: Shop, open_store: OpenStore) -> None:
    other = await open_store()
    given = clients_order()
    stores = [shop.store, other.store] * 25
    receipts = await asyncio.gather(*(s.run(note_purchase, NotePurchase(), given) for s in stores))
    assert len(set(receipts)) == 1
    assert len(shop.stored()) == 1


async def test_a_clients_id_with_another_command_is_refused(shop: Shop) -> None:
    given = clients_order()
    await shop.store.run(note_purchase, NotePurchase(), given)
    with pytest.raises(KeyReused):
        await shop.store.run(
            note_purchase, NotePurchase(text="other"), clients_order(given.target, b"g" * 32, id=given.id)
        )
    assert len(shop.stored()) == 1


async def test_within_a_group_the_same_id_is_answered_by_the_first_that_came(shop: Shop) -> None:
    target = (await shop.make()).id
    again = job(make_purchase, MakePurchase(), clients_order(target))
    repeat = job(make_purchase, MakePurchase(), again.order)
    reused = job(note_purchase, NotePurchase(), clients_order(target, b"g" * 32, id=again.order.id))
    outcomes = await asyncio.to_thread(shop.committer.commands, [again, repeat, reused])
    assert isinstance(outcomes[again], NotAllowed)
    assert outcomes[repeat] is outcomes[again]
    assert isinstance(outcomes[reused], KeyReused)


async def test_a_group_is_decided_in_the_order_in_which_it_came(shop: Shop) -> None:
    target = uuid4()
    made = job(make_purchase, MakePurchase(), clients_order(target))
    noted = job(_note_of_existing, NotePurchase(), order(target))
    repeat = job(make_purchase, MakePurchase(), made.order)
    outcomes = await asyncio.to_thread(shop.committer.commands, [made, noted, repeat])
    assert [_version(outcomes, j) for j in (made, noted, repeat)] == [1, 2, 1]


async def test_a_refused_command_stores_nothing_and_its_neighbours_go_on(shop: Shop) -> None:
    target = (await shop.make()).id
    refused = job(make_purchase, MakePurchase(), order(target))
    noted = job(note_purchase, NotePurchase(), order(target))
    outcomes = await asyncio.to_thread(shop.committer.commands, [refused, noted])
    assert isinstance(outcomes[refused], NotAllowed)
    assert _version(outcomes, noted) == 2


async def test_an_event_that_is_too_large_refuses_its_command_alone(shop: Shop) -> None:
    big = NotePurchase(text="x" * 600_000)
    given = clients_order()
    small, large, same = (
        job(note_purchase, NotePurchase(), order()),
        job(note_purchase, big, given),
        job(note_purchase, big, given),
    )
    outcomes = await asyncio.to_thread(shop.committer.commands, [small, large, same])
    assert _version(outcomes, small) == 1
    assert isinstance(outcomes[large], TooLarge)
    assert isinstance(outcomes[same], TooLarge)
    assert len(shop.stored()) == 1


async def test_a_stream_that_cannot_be_read_fails_its_own_command_only(shop: Shop) -> None:
    unreadable, fine = (await shop.make()).id, (await shop.make()).id
    await asyncio.to_thread(_spoil, shop, unreadable)
    failing, going = (job(note_purchase, NotePurchase(), order(target)) for target in (unreadable, fine))
    outcomes = await asyncio.to_thread(shop.committer.commands, [failing, going])
    assert isinstance(outcomes[failing], Exception)
    assert _version(outcomes, going) == 2


async def test_commands_that_arrive_together_commit_together(shop: Shop) -> None:
    await asyncio.gather(*(shop.note(uuid4()) for _ in range(300)))
    stored = shop.stored()
    assert len(stored) == 300
    assert len({row["transaction"] for row in stored}) <= 10


async def test_a_command_on_a_stream_that_another_process_moved_is_decided_again(
    shop: Shop, open_store: OpenStore
) -> None:
    other, target = await open_store(), uuid4()
    seen: list[list[str]] = []

    def note_late(command: NotePurchase, work: UnitOfWork) -> Purchase:
        purchase = work.load(Purchase, target)
        seen.append(list(purchase.notes))
        if len(seen) == 1:
            other.committer.commands([job(note_purchase, NotePurchase(text="faster"), order(target))])
        purchase.note(command.text)
        return work.save(purchase)

    receipt = await shop.store.run(note_late, NotePurchase(), order(target))
    assert seen == [[], ["faster"]]
    assert receipt.version == 2


async def test_two_processes_give_one_person_one_key(open_store: OpenStore, keys: KafkaKeyPool) -> None:
    faster, made = await open_store(), MakePurchase(customer_id=uuid4())

    class Overtaken:
        """Keys that arrive only after another process has given the person one."""

        def take(self, count: int) -> list[SubjectKey]:
            faster.committer.commands([job(make_purchase, made, order())])
            return keys.take(count)

    shop = await open_store(pool=Overtaken())
    await shop.store.run(make_purchase, made, order())
    blocks = [orjson.loads(row["state"])["data"]["customer"] for row in shop.stored()]
    assert [block["subject"] for block in blocks] == [str(made.customer_id)] * 2
    assert blocks[0]["key"] == blocks[1]["key"]


async def test_what_was_sealed_is_opened_by_any_process_of_the_service(shop: Shop, open_store: OpenStore) -> None:
    made = await shop.make(name="Ada Lovelace")
    found: list[str] = []

    def read_name(command: NotePurchase, work: UnitOfWork) -> Purchase:  # noqa: ARG001 - a handler's shape
        purchase = work.target(Purchase)
        assert purchase.customer is not None
        found.append(work.open(purchase.customer, Customer).name)
        return purchase

    await (await open_store()).store.run(read_name, NotePurchase(), order(made.id))
    assert found == ["Ada Lovelace"]


async def test_a_command_that_records_nothing_keeps_its_reply_only_for_a_clients_id(shop: Shop) -> None:
    def look(command: NotePurchase, work: UnitOfWork) -> Purchase:  # noqa: ARG001 - a handler's shape
        return work.load(Purchase, work.target_id)

    await shop.store.run(look, NotePurchase(), order())
    receipt = await shop.store.run(look, NotePurchase(), clients_order())
    assert (receipt.version, receipt.positions) == (0, ())
    assert len(shop.rows("SELECT 1 FROM replies")) == 1


async def test_the_store_inserts_under_the_table_lock(shop: Shop) -> None:
    """Without it a reader of positions would pass over an event that commits late."""
    assert shop.events.store.datastore.enable_db_functions is False


def _note_of_existing(command: NotePurchase, work: UnitOfWork) -> Purchase:
    purchase = work.target(Purchase)
    purchase.note(command.text)
    return work.save(purchase)


def _version(outcomes: Mapping[Job, object], of: Job) -> int:
    receipt = outcomes[of]
    assert isinstance(receipt, Receipt), receipt
    return receipt.version


def _spoil(shop: Shop, stream: UUID) -> None:
    """As if a newer release had written to it."""
    with shop.events.store.datastore.get_connection() as connection:
        connection.execute(
            "UPDATE store_events SET state = convert_to(replace(convert_from(state, 'UTF8'), 'PurchaseMade.v1',"
            " 'PurchaseMade.v9'), 'UTF8') WHERE originator_id = %s",
            (stream,),
        )
