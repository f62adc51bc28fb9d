"""crm.keys as the ledger of destroyed keys: marks stay, backups are compared with them, losses are filled again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from eventsourcing.persistence import OperationalError
from libs.platform.tests.kafka_topics import records_of, recreate_topic
from libs.platform.tests.shop import Customer, NotePurchase
from libs.platform.tests.shop_store import Shop, order
from libs.platform.tests.tcp_link import link_to
from libs.platform.tests.test_destroying_keys import ErasePurchase, erase, read_name
from libs.platform.tests.waiting import eventually, running
from psycopg.sql import SQL, Identifier

from crm_events.topics import KEYS
from crm_platform import kafka, mongo
from crm_platform.authenticity import Authenticator
from crm_platform.destroyed_keys_watch import DestroyedKeysWatch
from crm_platform.errors import Unavailable
from crm_platform.event_store.key_ledger import KeyLedger
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.key_publisher import KeyPublisher, publish_marks
from crm_platform.key_records import Destroyed, KeyRecords, WrappedKey, key_record, mark
from crm_platform.keyring import Keyring, KeyringFiller
from crm_platform.sealing import InstallationKey, KeyErased, SealedBlock, SubjectKey
from crm_platform.wakeup import Wakeup

pytestmark = pytest.mark.integration

OWNER = "shop"
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class House:
    """A service's keys as a process of it has them: keyring, watch, publisher."""

    def __init__(self, database: mongo.Database, installation: InstallationKey, bootstrap: str, name: str) -> None:
        self.installation = installation
        self.bootstrap = bootstrap
        self.database = database
        self.authenticator = Authenticator(installation)
        self.records = KeyRecords(installation)
        self.applied = Wakeup()
        self.ring = Keyring(database, installation, bootstrap, name, self.applied)
        self.filler = KeyringFiller(name, database, self.ring, bootstrap, "0", self.applied)

    def watch(self, shop: Shop | None = None) -> DestroyedKeysWatch:
        own = None if shop is None else (shop.subject_keys, KeyLedger(shop.events.store))
        return DestroyedKeysWatch(self.database, self.ring, own)

    def publisher(self, shop: Shop, kind: type[KeyPublisher] = KeyPublisher) -> KeyPublisher:
        ledger = KeyLedger(shop.events.store)
        return kind(ledger, shop.subject_keys, self.bootstrap, OWNER, self.records, self.authenticator)

    async def wrapped(self, key: UUID) -> bool:
        return await self.database["keyring"].find_one({"_id": str(key)}) is not None

    async def has_caught_up(self) -> bool:
        try:
            await self.ring.read_to_the_end()
        except TimeoutError:
            return False
        return True

    async def published(self, key: UUID) -> list[WrappedKey | Destroyed | Any]:
        """What crm.keys says of a key, record by record."""
        return [self.records.read(r) for r in await records_of(self.bootstrap, KEYS) if r.key == str(key).encode()]


@pytest.fixture
def new_house(installation: InstallationKey, bootstrap: str) -> Callable[[mongo.Database], House]:
    return lambda database: House(database, installation, bootstrap, f"keyring.{uuid4().hex}")


@pytest_asyncio.fixture
async def house(database: mongo.Database, new_house: Callable[[mongo.Database], House]) -> AsyncIterator[House]:
    house = new_house(database)
    async with running(house.filler.run):
        await eventually(house.has_caught_up, within=60)
        yield house


@pytest_asyncio.fixture
async def publish(bootstrap: str) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    async with kafka.producer(bootstrap) as producer:

        async def sent(*records: kafka.Outgoing) -> None:
            await asyncio.gather(*await kafka.send_in_batches(producer, KEYS.name, records))

        yield sent


async def _bought_and_erased(shop: Shop) -> UUID:
    """The id of the key that was destroyed."""
    made = await shop.make()
    (row,) = shop.rows("SELECT key FROM subject_keys WHERE subject = %s", made.id)
    await shop.store.run(erase, ErasePurchase(), order(made.id))
    key: UUID = row["key"]
    return key


# -- marks


async def test_a_mark_is_published_acknowledged_and_obeyed_by_every_ring(house: House, shop: Shop) -> None:
    key = await _bought_and_erased(shop)
    assert await house.wrapped(key)
    async with running(house.publisher(shop).run, house.watch().run):
        await eventually(lambda: shop.rows("SELECT 1 FROM destroyed_keys WHERE published_at IS NOT NULL") != [])

        async def gone() -> bool:
            return not await house.wrapped(key)

        await eventually(gone)
    *_, last = await house.published(key)
    assert isinstance(last, Destroyed)
    assert await house.ring.destroyed([key, uuid4()]) == {key}


async def test_a_key_that_is_read_again_after_its_mark_never_comes_back(
    house: House, publish: Callable[..., Awaitable[None]], installation: InstallationKey
) -> None:
    key = SubjectKey.generate()
    wrapped = key_record(key.id, OWNER, installation.wrap(key))
    destroyed = mark(key.id, NOW, house.authenticator)
    await publish(wrapped, destroyed, wrapped)
    await eventually(house.has_caught_up)
    assert not await house.wrapped(key.id)
    await publish(wrapped)
    await eventually(house.has_caught_up)
    assert not await house.wrapped(key.id)


async def test_a_tombstone_takes_a_key_away_until_its_owner_publishes_it_again(
    house: House, publish: Callable[..., Awaitable[None]], installation: InstallationKey
) -> None:
    key = SubjectKey.generate()
    wrapped = key_record(key.id, OWNER, installation.wrap(key))
    async with kafka.producer(house.bootstrap) as producer:
        await publish(wrapped)
        await producer.send_and_wait(KEYS.name, key=wrapped.key, partition=wrapped.partition, value=None)
    await eventually(house.has_caught_up)
    assert not await house.wrapped(key.id)
    await publish(wrapped)
    await eventually(house.has_caught_up)
    assert await house.wrapped(key.id)


@pytest.mark.parametrize("forged", ["no mac", "another key's mac", "another time"])
async def test_a_mark_that_does_not_prove_itself_destroys_nothing(
    house: House, publish: Callable[..., Awaitable[None]], installation: InstallationKey, forged: str
) -> None:
    key = SubjectKey.generate()
    genuine = mark(key.id, NOW, house.authenticator)
    other = mark(uuid4(), NOW, house.authenticator)
    false = {
        "no mac": genuine._replace(headers=[]),
        "another key's mac": genuine._replace(headers=other.headers),
        "another time": genuine._replace(value=genuine.value.replace(b"2026", b"2025")),
    }[forged]
    await publish(key_record(key.id, OWNER, installation.wrap(key)), false)
    await eventually(house.has_caught_up)
    assert await house.wrapped(key.id)


async def test_a_process_that_only_answers_forgets_a_key_within_moments(
    house: House, installation: InstallationKey, publish: Callable[..., Awaitable[None]]
) -> None:
    key, event, subject = SubjectKey.generate(), uuid4(), uuid4()
    block = SealedBlock.of(key.seal(Customer(name="Ada"), event=event, subject=subject))
    await publish(key_record(key.id, OWNER, installation.wrap(key)))
    answering = Keyring(house.database, installation, house.bootstrap, house.filler.name, Wakeup())
    watch = DestroyedKeysWatch(house.database, answering, None)
    async with running(watch.run):
        await eventually(lambda: watch.ready)
        assert await answering.open_all([block], Customer) == [Customer(name="Ada")]
        await publish(mark(key.id, NOW, house.authenticator))

        async def forgotten() -> bool:
            return await answering.open_all([block], Customer) == [None]

        await eventually(forgotten, within=10)


async def test_marks_wait_while_kafka_is_away(house: House, shop: Shop) -> None:
    key = await _bought_and_erased(shop)
    host, port = house.bootstrap.rsplit(":", 1)
    async with link_to(host, int(port)) as link:
        link.cut()
        away = House(house.database, house.installation, f"127.0.0.1:{link.port}", "none")
        async with running(away.publisher(shop).run):
            await eventually(lambda: link.refused > 1)
        assert shop.rows("SELECT 1 FROM destroyed_keys WHERE published_at IS NULL") != []
    async with running(house.publisher(shop).run):
        await eventually(lambda: shop.rows("SELECT 1 FROM destroyed_keys WHERE published_at IS NULL") == [])
    assert isinstance((await house.published(key))[-1], Destroyed)


async def test_a_mark_whose_acknowledgement_is_not_stored_is_published_again(house: House, shop: Shop) -> None:
    key = await _bought_and_erased(shop)

    class Forgetful(KeyLedger):
        def published(self, keys: Sequence[UUID]) -> None:
            raise OperationalError(f"{len(keys)} acknowledgements are lost")

    async with kafka.producer(house.bootstrap) as producer:
        with pytest.raises(OperationalError):
            await publish_marks(producer, Forgetful(shop.events.store), house.authenticator)
        await publish_marks(producer, KeyLedger(shop.events.store), house.authenticator)
    assert [type(each) for each in await house.published(key)] == [WrappedKey, Destroyed, Destroyed]
    assert shop.rows("SELECT 1 FROM destroyed_keys WHERE published_at IS NULL") == []


# -- restored backups


@asynccontextmanager
async def _copy(uri: str) -> AsyncIterator[str]:
    """A backup of the database: PostgreSQL's own copy, under another name."""
    server, _, name = uri.rpartition("/")
    copied = f"{name}_backup"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
        admin.execute(SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(name))
        admin.execute(
            SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(Identifier(copied), Identifier(name))
        )
        yield f"{server}/{copied}"
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(copied)))


async def test_postgresql_restored_from_a_backup_seals_nothing_with_a_destroyed_key(
    house: House, shop: Shop, open_store: Callable[..., Any], postgres_uri: str
) -> None:
    made, other = await shop.make(), await shop.make()
    async with _copy(postgres_uri) as backup:
        await shop.note(other.id)
        await shop.store.run(erase, ErasePurchase(), order(made.id))
        async with running(house.publisher(shop).run):
            await eventually(lambda: shop.rows("SELECT 1 FROM destroyed_keys WHERE published_at IS NOT NULL") != [])
        restored = await open_store(backup)
        restored.subject_keys.hold()
        assert len(restored.rows("SELECT 1 FROM subject_keys WHERE wrapped IS NOT NULL")) == 2
        with pytest.raises(Unavailable):
            await restored.store.run(read_name, NotePurchase(), order(made.id))
        watch = house.watch(restored)
        assert not watch.ready
        async with running(watch.run):
            await eventually(lambda: watch.ready)
            with pytest.raises(KeyErased):
                await restored.store.run(read_name, NotePurchase(), order(made.id))
            await restored.store.run(read_name, NotePurchase(), order(other.id))
        assert len(restored.rows("SELECT 1 FROM subject_keys WHERE wrapped IS NOT NULL")) == 1
        await restored.store.stop()
        restored.events.close()


async def test_a_keyring_restored_from_a_backup_applies_the_marks_again(
    house: House, shop: Shop, mongo_client: mongo.Client
) -> None:
    made = await shop.make()
    await eventually(house.has_caught_up)
    backup = {name: await house.database[name].find().to_list(None) for name in ("keyring", "cursors")}
    await shop.store.run(erase, ErasePurchase(), order(made.id))
    (destroyed,) = shop.rows("SELECT key FROM destroyed_keys")
    async with running(house.publisher(shop).run):
        await eventually(lambda: shop.rows("SELECT 1 FROM destroyed_keys WHERE published_at IS NOT NULL") != [])
    name = f"t_{uuid4().hex}"
    try:
        restored = House(mongo.database(mongo_client, name), house.installation, house.bootstrap, house.filler.name)
        for collection, rows in backup.items():
            await restored.database[collection].insert_many(rows)
        assert await restored.wrapped(destroyed["key"])
        watch = restored.watch()
        async with running(watch.run):
            assert not await restored.has_caught_up()
            assert not watch.ready
            async with running(restored.filler.run):
                await eventually(lambda: watch.ready, within=60)
                assert not await restored.wrapped(destroyed["key"])
    finally:
        await mongo_client.drop_database(name)


async def test_nothing_is_opened_before_the_ring_is_compared(
    house: House, installation: InstallationKey, publish: Callable[..., Awaitable[None]]
) -> None:
    key, event, subject = SubjectKey.generate(), uuid4(), uuid4()
    block = SealedBlock.of(key.seal(Customer(name="Ada"), event=event, subject=subject))
    await publish(key_record(key.id, OWNER, installation.wrap(key)))
    await eventually(house.has_caught_up)
    house.ring.hold()
    assert await house.ring.open_all([None], Customer) == [None]
    with pytest.raises(Unavailable):
        await house.ring.open_all([block], Customer)
    watch = house.watch()
    async with running(watch.run):
        await eventually(lambda: watch.ready)
        assert await house.ring.open_all([block], Customer) == [Customer(name="Ada")]


# -- crm.keys lost


@asynccontextmanager
async def _lost(bootstrap: str) -> AsyncIterator[None]:
    """Meanwhile crm.keys has lost all that it held; the other tests' keys are there again after that."""
    held = await records_of(bootstrap, KEYS)
    await recreate_topic(bootstrap, KEYS)
    try:
        yield
    finally:
        async with kafka.producer(bootstrap) as producer:
            again = (kafka.Outgoing(r.partition, r.key, r.value, list(r.headers)) for r in held)
            await asyncio.gather(*await kafka.send_in_batches(producer, KEYS.name, again))


async def test_a_lost_topic_is_filled_again_with_keys_and_marks(
    bootstrap: str, installation: InstallationKey, open_store: Callable[..., Any], database: mongo.Database
) -> None:
    house = House(database, installation, bootstrap, f"keyring.{uuid4().hex}")
    pool = KafkaKeyPool(bootstrap, installation, OWNER)
    async with running(pool.run):
        await eventually(lambda: pool.ready)
        shop = await open_store(pool=pool)
        made = await shop.make()
        destroyed = await _bought_and_erased(shop)
        async with running(house.publisher(shop).run):
            await eventually(lambda: shop.rows("SELECT 1 FROM destroyed_keys WHERE published_at IS NOT NULL") != [])
    async with _lost(bootstrap):
        async with running(house.publisher(shop).run):
            (kept,) = shop.rows("SELECT key FROM subject_keys WHERE subject = %s", made.id)

            async def filled() -> bool:
                return bool(await house.published(kept["key"])) and bool(await house.published(destroyed))

            await eventually(filled)
        assert [type(each) for each in await house.published(destroyed)] == [Destroyed]
        assert [type(each) for each in await house.published(kept["key"])] == [WrappedKey]
        async with running(house.filler.run):
            await eventually(house.has_caught_up, within=60)
            assert await house.wrapped(kept["key"])
            assert not await house.wrapped(destroyed)


async def test_nothing_that_is_there_is_published_again(house: House, shop: Shop) -> None:
    made = await shop.make()
    (row,) = shop.rows("SELECT key FROM subject_keys WHERE subject = %s", made.id)
    destroyed = await _bought_and_erased(shop)
    looks: list[None] = []

    class Looking(KeyPublisher):
        async def publish_marks(self, producer: AIOKafkaProducer) -> None:
            await super().publish_marks(producer)
            looks.append(None)

    for _ in range(2):
        looks.clear()
        async with running(house.publisher(shop, Looking).run):
            await eventually(lambda: len(looks) > 1)
    assert len(await house.published(row["key"])) == 1
    assert [type(each) for each in await house.published(destroyed)] == [WrappedKey, Destroyed]


async def test_a_key_that_is_published_again_and_destroyed_meanwhile_lies_before_its_mark(
    house: House, shop: Shop, publish: Callable[..., Awaitable[None]]
) -> None:
    key = await _bought_and_erased(shop)
    publisher = house.publisher(shop)
    async with kafka.producer(house.bootstrap) as producer:
        await publisher.publish_marks(producer)
        wrapped = house.installation.wrap(SubjectKey(key, b"k" * 32))
        await publish(key_record(key, OWNER, wrapped))
        await publisher.publish_what_is_lost(producer)
        await publisher.publish_marks(producer)
    assert [type(each) for each in await house.published(key)][-2:] == [WrappedKey, Destroyed]


async def test_what_a_stranger_wrote_over_a_key_is_taken_for_lost(
    house: House, shop: Shop, publish: Callable[..., Awaitable[None]]
) -> None:
    made = await shop.make()
    (row,) = shop.rows("SELECT key, wrapped FROM subject_keys WHERE subject = %s", made.id)
    destroyed = await _bought_and_erased(shop)
    publisher = house.publisher(shop)
    async with kafka.producer(house.bootstrap) as producer:
        await publisher.publish_marks(producer)
        await publish(*(key_record(key, "stranger", b"rubbish") for key in (row["key"], destroyed)))
        await publisher.publish_what_is_lost(producer)
        await publisher.publish_marks(producer)
    last = {record.key: record for record in await records_of(house.bootstrap, KEYS)}
    assert isinstance(house.records.read(last[str(row["key"]).encode()]), WrappedKey)
    assert isinstance(house.records.read(last[str(destroyed).encode()]), Destroyed)
