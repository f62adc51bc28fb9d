"""The installation's key is changed while everything goes on: accepted, used, rewrapped, given up."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from libs.platform.tests.kafka_topics import records_of
from libs.platform.tests.shop import NotePurchase
from libs.platform.tests.shop_store import order
from libs.platform.tests.test_destroying_keys import ErasePurchase, erase, read_name
from libs.platform.tests.test_key_ledger import OWNER
from libs.platform.tests.waiting import eventually, running

from crm_events.topics import KEYS
from crm_platform import former_key, kafka, mongo
from crm_platform.authenticity import Authenticator
from crm_platform.event_chain.checkpoint import CheckpointKeys
from crm_platform.event_store.key_ledger import KeyLedger
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.key_publisher import KeyPublisher
from crm_platform.key_records import Destroyed, KeyRecords, WrappedKey
from crm_platform.keyring import Keyring, KeyringFiller
from crm_platform.rewrapping import Left, Rewrapping
from crm_platform.sealing import InstallationKey, SealBrokenError, SubjectKey
from crm_platform.wakeup import Wakeup

OLD, NEW = b"o" * 32, b"n" * 32
RECORD = ("crm.shop", 0, 7, 6, b"crm.shop.PurchaseMade.v1", b"key", b"value")


# -- the key


def test_what_any_accepted_key_wrapped_unwraps_and_only_the_present_one_wraps() -> None:
    key = SubjectKey.generate()
    before, accepting, switched = InstallationKey(OLD), InstallationKey(OLD, [NEW]), InstallationKey(NEW, [OLD])
    assert switched.unwrap(key.id, before.wrap(key)).secret == key.secret
    assert accepting.unwrap(key.id, switched.wrap(key)).secret == key.secret
    assert before.unwrap(key.id, accepting.wrap(key)).secret == key.secret
    with pytest.raises(SealBrokenError, match="CRM_ACCEPTED_INSTALLATION_KEYS"):
        before.unwrap(key.id, switched.wrap(key))
    assert switched.own(key.id, before.wrap(key)) is None
    assert switched.own(key.id, switched.wrap(key)) is not None


def test_old_records_and_checkpoints_stay_proved_also_when_the_key_is_given_up() -> None:
    proofs = former_key.read(former_key.written(former_key.proofs_of(InstallationKey(OLD), {"crm.shop": 7})))
    mac = Authenticator(InstallationKey(OLD)).mac(*RECORD)
    public = CheckpointKeys([InstallationKey(OLD)]).public
    for installation in (InstallationKey(NEW, [OLD]), InstallationKey(NEW, former=[proofs])):
        assert Authenticator(installation).proves(mac, *RECORD)
        assert Authenticator(installation).mac(*RECORD) == Authenticator(InstallationKey(NEW)).mac(*RECORD)
        assert public in CheckpointKeys.of(installation).trusted
        assert CheckpointKeys.of(installation).public == CheckpointKeys([InstallationKey(NEW)]).public
    assert not Authenticator(InstallationKey(NEW)).proves(mac, *RECORD)


@pytest.mark.parametrize("forged", [("crm.shop", 0, 8, 7), ("crm.other", 0, 7, 6), ("crm.shop", 0, 0, 0)])
def test_what_a_former_key_proves_lies_behind_everybody(forged: tuple[str, int, int, int]) -> None:
    proofs = former_key.proofs_of(InstallationKey(OLD), {"crm.shop": 7})
    mac = Authenticator(InstallationKey(OLD)).mac(*forged, *RECORD[4:])
    assert Authenticator(InstallationKey(NEW, [OLD])).proves(mac, *forged, *RECORD[4:])
    assert not Authenticator(InstallationKey(NEW, former=[proofs])).proves(mac, *forged, *RECORD[4:])


def test_what_is_kept_of_a_key_unwraps_nothing() -> None:
    key = SubjectKey.generate()
    proofs = former_key.proofs_of(InstallationKey(OLD), {})
    wrapped = InstallationKey(OLD).wrap(key)
    assert OLD not in proofs.records + proofs.checkpoints
    for candidate in (InstallationKey(NEW, former=[proofs]), *map(InstallationKey, proofs[:2])):
        with pytest.raises(SealBrokenError):
            candidate.unwrap(key.id, wrapped)


# -- rewrapping


@pytest.mark.integration
async def test_rewrapping_goes_on_after_an_interruption_and_leaves_nothing_to_the_former_key(
    bootstrap: str, open_store: Callable[..., Any], database: mongo.Database
) -> None:
    old, new = InstallationKey(OLD), InstallationKey(NEW, [OLD])
    applied, name = Wakeup(), f"keyring.{uuid4().hex}"
    ring = Keyring(database, new, bootstrap, name, applied)
    filler = KeyringFiller(name, database, ring, bootstrap, "0", applied)
    pool = KafkaKeyPool(bootstrap, old, OWNER)
    async with running(filler.run, pool.run):
        await eventually(lambda: pool.ready)
        shop = await open_store(pool=pool)
        shop.subject_keys._installation = old
        made = [await shop.make() for _ in range(3)]
        await shop.store.run(erase, ErasePurchase(), order(made[2].id))
        ledger = KeyLedger(shop.events.store)
        await eventually(lambda: _at_the_end(ring))
        rewrapping = Rewrapping(new, database, ledger)
        assert (await rewrapping.left()).stored == 2
        told: list[int] = []
        async with kafka.producer(bootstrap) as producer:
            with pytest.raises(InterruptedError):
                await rewrapping.stored_keys(producer, OWNER, _interrupt)
            await rewrapping.stored_keys(producer, OWNER, told.append)
            await rewrapping.marks(producer)
        assert told == [2]
        await eventually(lambda: _at_the_end(ring))
        await rewrapping.ring()
        assert await rewrapping.left() == Left(0, 0, (await rewrapping.left()).unreadable)
    records = KeyRecords(InstallationKey(NEW))
    (destroyed,) = shop.rows("SELECT key FROM destroyed_keys WHERE published_at IS NOT NULL")
    marks = [r for r in await records_of(bootstrap, KEYS) if r.key == str(destroyed["key"]).encode()]
    assert isinstance(records.read(marks[-1]), Destroyed)
    kept = {row["key"] for row in shop.rows("SELECT key FROM subject_keys WHERE key IS NOT NULL")}
    last = {r.key.decode(): r for r in await records_of(bootstrap, KEYS) if r.key.decode() in set(map(str, kept))}
    assert {records.read(record).key for record in last.values()} == kept
    shop.subject_keys._installation = InstallationKey(NEW)
    shop.subject_keys.forget()
    for purchase in made[:2]:
        await shop.store.run(read_name, NotePurchase(), order(purchase.id))


def _interrupt(_: int) -> None:
    raise InterruptedError


async def _at_the_end(ring: Keyring) -> bool:
    try:
        await ring.read_to_the_end()
    except TimeoutError:
        return False
    return True


@pytest.mark.integration
async def test_a_key_that_is_destroyed_while_it_is_rewrapped_stays_destroyed(
    bootstrap: str, open_store: Callable[..., Any], database: mongo.Database, installation: InstallationKey
) -> None:
    new = InstallationKey(NEW, [b"i" * 32])
    shop = await open_store()
    made = await shop.make()
    (row,) = shop.rows("SELECT key FROM subject_keys")
    ledger = KeyLedger(shop.events.store)
    authenticator = Authenticator(installation)
    records = KeyRecords(new)
    publisher = KeyPublisher(ledger, shop.subject_keys, bootstrap, OWNER, records, authenticator)

    class Overtaken(KeyLedger):
        """Reads a page, and the key is destroyed and marked before it is used."""

        def stored(self) -> Any:
            for page in super().stored():
                done = asyncio.run_coroutine_threadsafe(destroyed(), loop)
                done.result()
                yield page

    async def destroyed() -> None:
        await shop.store.run(erase, ErasePurchase(), order(made.id))
        await publisher.publish_marks(producer)

    loop = asyncio.get_running_loop()
    async with kafka.producer(bootstrap) as producer:
        rewrapping = Rewrapping(new, database, Overtaken(shop.events.store))
        await rewrapping.stored_keys(producer, OWNER, lambda _: None)
        await publisher.publish_marks(producer)
    assert shop.rows("SELECT key, wrapped FROM subject_keys") == [{"key": None, "wrapped": None}]
    told = [records.read(r) for r in await records_of(bootstrap, KEYS) if r.key == str(row["key"]).encode()]
    assert [type(each) for each in told] == [WrappedKey, Destroyed, WrappedKey, Destroyed]
