"""A subject's key is destroyed with the events that decide it, and nobody seals or opens with it any more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from libs.platform.tests.shop import (
    Customer,
    MakePurchase,
    NotePurchase,
    Purchase,
    make_purchase,
    note_purchase,
)
from libs.platform.tests.shop_store import Shop, job, order
from libs.platform.tests.waiting import eventually

from crm_platform.command import Receipt
from crm_platform.errors import NotAllowed, Unavailable
from crm_platform.event_store.application import EventStore
from crm_platform.event_store.key_ledger import KeyLedger, destruction
from crm_platform.sealing import KeyErased
from crm_platform.work import UnitOfWork

pytestmark = pytest.mark.integration

OpenStore = Callable[..., Awaitable[Shop]]


class ErasePurchase(NotePurchase):
    subject: UUID | None = None


def erase(command: ErasePurchase, work: UnitOfWork) -> Purchase:
    purchase = work.load(Purchase, work.target_id)
    purchase.note("erased")
    work.destroy_key(command.subject or purchase.id)
    return work.save(purchase)


def erase_and_fail(command: ErasePurchase, work: UnitOfWork) -> Purchase:
    erase(command, work)
    raise NotAllowed("It was thought over.")


def read_name(command: NotePurchase, work: UnitOfWork) -> Purchase:  # noqa: ARG001 - a handler's shape
    purchase = work.target(Purchase)
    assert purchase.customer is not None
    work.open(purchase.customer, Customer)
    return purchase


async def _erased(shop: Shop, subject: UUID) -> Receipt:
    return await shop.store.run(erase, ErasePurchase(subject=subject), order(uuid4()))


async def _bought(shop: Shop, person: UUID) -> Receipt:
    return await shop.make(customer_id=person)


async def test_the_key_goes_in_the_transaction_of_the_events_and_the_ledger_names_it(shop: Shop) -> None:
    made = await shop.make()
    (before,) = shop.rows("SELECT key FROM subject_keys")
    await shop.store.run(erase, ErasePurchase(), order(made.id))
    assert shop.rows("SELECT subject, key, wrapped FROM subject_keys") == [
        {"subject": made.id, "key": None, "wrapped": None}
    ]
    (ledger,) = shop.rows("SELECT key, published_at, xmin::text AS transaction FROM destroyed_keys")
    assert ledger == {
        "key": before["key"],
        "published_at": None,
        "transaction": shop.stored()[-1]["transaction"],
    }


async def test_postgresql_keeps_no_samples_of_what_an_erasure_takes_away(shop: Shop) -> None:
    made = [await shop.make() for _ in range(3)]
    await shop.store.run(erase, ErasePurchase(), order(made[0].id))
    with psycopg.connect(shop.uri, autocommit=True) as connection:
        connection.execute("ANALYZE")
    sampled = shop.rows("SELECT tablename, attname FROM pg_stats WHERE tablename = 'subject_keys'")
    assert {row["attname"] for row in sampled} == {"subject", "key"}
    unsampled = shop.rows(
        "SELECT attrelid::regclass::text AS of, attname FROM pg_attribute"
        " WHERE attstattarget = 0 AND attrelid IN ('parked_events'::regclass, 'discarded_events'::regclass)"
    )
    assert {(row["of"], row["attname"]) for row in unsampled} == {
        (table, column)
        for table in ("parked_events", "discarded_events")
        for column in ("record_key", "value", "headers")
    }


async def test_what_is_discarded_destroys_nothing(shop: Shop) -> None:
    made = await shop.make()
    with pytest.raises(NotAllowed):
        await shop.store.run(erase_and_fail, ErasePurchase(), order(made.id))
    await shop.store.run(read_name, NotePurchase(), order(made.id))
    assert shop.rows("SELECT 1 FROM destroyed_keys") == []


async def test_nothing_is_opened_or_sealed_for_an_erased_person(shop: Shop) -> None:
    person = uuid4()
    made = await _bought(shop, person)
    await _erased(shop, person)
    for attempt in (shop.store.run(read_name, NotePurchase(), order(made.id)), _bought(shop, person)):
        with pytest.raises(KeyErased):
            await attempt
    await shop.note(made.id)


async def test_destroying_again_or_nothing_is_no_error(shop: Shop) -> None:
    person, nobody = uuid4(), uuid4()
    await _bought(shop, person)
    for subject in (person, person, nobody, nobody):
        await _erased(shop, subject)
    assert len(shop.rows("SELECT 1 FROM destroyed_keys")) == 1
    with pytest.raises(KeyErased):
        await _bought(shop, nobody)


async def test_a_stream_that_begins_with_an_erased_subject_is_refused(shop: Shop) -> None:
    stream = uuid4()
    await _erased(shop, stream)
    with pytest.raises(KeyErased):
        await shop.make(stream)


async def test_another_process_that_has_the_key_at_hand_is_refused_too(shop: Shop, open_store: OpenStore) -> None:
    other, person = await open_store(), uuid4()
    made = await _bought(shop, person)
    await _bought(other, person)
    await _erased(shop, person)
    with pytest.raises(KeyErased):
        await _bought(other, person)
    with pytest.raises(KeyErased):
        await other.store.run(read_name, NotePurchase(), order(made.id))


async def test_a_key_that_is_destroyed_between_sealing_and_storing_seals_nothing(
    shop: Shop, open_store: OpenStore
) -> None:
    other, person, target = await open_store(), uuid4(), uuid4()
    await _bought(shop, person)
    times = []

    def make_late(command: MakePurchase, work: UnitOfWork) -> Purchase:
        times.append(work.now)
        if len(times) == 1:
            other.committer.commands([job(erase, ErasePurchase(subject=person), order(uuid4()))])
        return make_purchase(command, work)

    with pytest.raises(KeyErased):
        await shop.store.run(make_late, MakePurchase(customer_id=person), order(target))
    assert len(times) > 1
    assert all(row["originator_id"] != target for row in shop.stored())


async def test_within_a_group_what_came_before_stays_and_what_comes_behind_is_refused(shop: Shop) -> None:
    person = uuid4()
    made = await _bought(shop, person)
    before = job(make_purchase, MakePurchase(customer_id=person), order())
    erasing = job(erase, ErasePurchase(subject=person), order())
    behind = job(make_purchase, MakePurchase(customer_id=person), order())
    opening = job(read_name, NotePurchase(), order(made.id))
    other = job(note_purchase, NotePurchase(), order())
    outcomes = shop.committer.commands([before, erasing, behind, opening, other])
    assert [type(outcomes[each]) for each in (before, erasing, behind, opening, other)] == [
        Receipt,
        Receipt,
        KeyErased,
        KeyErased,
        Receipt,
    ]
    assert len(shop.rows("SELECT 1 FROM destroyed_keys")) == 1


async def test_many_processes_that_erase_and_seal_at_once_agree(open_store: OpenStore) -> None:
    shops = [await open_store() for _ in range(3)]
    people = [uuid4() for _ in range(20)]
    for person in people:
        await _bought(shops[0], person)

    async def buy(shop: Shop, person: UUID) -> bool:
        try:
            await _bought(shop, person)
        except KeyErased:
            return False
        return True

    for person in people:
        await asyncio.gather(*(buy(shop, person) for shop in shops), _erased(shops[0], person))
    assert not any([await buy(shop, person) for shop in shops for person in people])
    assert len(shops[0].rows("SELECT 1 FROM destroyed_keys")) == len(people)
    assert shops[0].rows("SELECT 1 FROM subject_keys WHERE key IS NOT NULL") == []


async def test_while_a_destruction_is_being_committed_nobody_takes_the_key_for_one_that_stays(
    shop: Shop, open_store: OpenStore
) -> None:
    person = uuid4()
    await _bought(shop, person)
    other = await open_store()
    with psycopg.connect(shop.uri) as erasing:
        erasing.execute("LOCK TABLE store_events IN EXCLUSIVE MODE")
        for statement in destruction((person,)):
            erasing.execute(statement.sql, statement.params)
        buying = asyncio.create_task(_bought(other, person))
        await eventually(lambda: bool(shop.rows("SELECT 1 FROM pg_locks WHERE NOT granted")))

    with pytest.raises(KeyErased):
        await buying


async def test_keys_that_are_held_seal_and_open_nothing_and_hold_up_nothing_else(shop: Shop) -> None:
    person = uuid4()
    made = await _bought(shop, person)
    shop.subject_keys.hold()
    for attempt in (shop.store.run(read_name, NotePurchase(), order(made.id)), _bought(shop, person)):
        with pytest.raises(Unavailable):
            await attempt
    await shop.note(made.id)
    shop.subject_keys.release()
    await _bought(shop, person)


async def test_what_a_backup_brings_back_is_destroyed_again_and_leaves_the_caches(
    shop: Shop, open_store: OpenStore
) -> None:
    person = uuid4()
    await _bought(shop, person)
    backup = shop.rows("SELECT * FROM subject_keys")
    await _erased(shop, person)
    (marked,) = shop.rows("SELECT key, destroyed_at FROM destroyed_keys")
    with psycopg.connect(shop.uri) as restored:
        restored.execute("DELETE FROM subject_keys")
        restored.execute("DELETE FROM destroyed_keys")
        restored.execute("INSERT INTO subject_keys VALUES (%s, %s, %s)", tuple(backup[0].values()))
    other = await open_store()
    await _bought(other, person)
    ledger = KeyLedger(other.events.store)
    assert ledger.destroy_again({marked["key"]: marked["destroyed_at"], uuid4(): marked["destroyed_at"]}) == 1
    with pytest.raises(KeyErased):
        await _bought(other, person)
    assert shop.rows("SELECT key, destroyed_at FROM destroyed_keys") == [marked]


async def test_a_key_that_was_being_looked_up_while_all_were_forgotten_is_not_cached(
    shop: Shop, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, person = await open_store(), uuid4()
    await _bought(shop, person)
    read = other.events.store.fetched

    def fetched(sql: Any, parameters: Any) -> Any:
        rows = read(sql, parameters)
        if "FROM subject_keys" in str(sql):
            shop.committer.commands([job(erase, ErasePurchase(subject=person), order(uuid4()))])
            other.subject_keys.forget()
        return rows

    with monkeypatch.context() as while_it_reads:
        while_it_reads.setattr(other.events.store, "fetched", fetched)
        stale = await asyncio.to_thread(other.subject_keys.known, [person])
    assert stale[person] is not None
    assert other.subject_keys.cached([person]) == {}
    with pytest.raises(KeyErased):
        await _bought(other, person)


async def test_the_tables_of_the_release_before_are_changed(postgres_uri: str, open_store: OpenStore) -> None:
    with psycopg.connect(postgres_uri) as before:
        before.execute(
            "CREATE TABLE subject_keys (subject uuid PRIMARY KEY, key uuid NOT NULL UNIQUE, wrapped bytea NOT NULL)"
        )
    shop = await open_store()
    made = await shop.make()
    await shop.store.run(erase, ErasePurchase(), order(made.id))
    assert shop.rows("SELECT key FROM subject_keys") == [{"key": None}]
    assert isinstance(shop.events, EventStore)
