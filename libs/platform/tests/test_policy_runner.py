"""A policy runner on PostgreSQL: reactions and cursors are stored together or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord, TopicPartition
from eventsourcing.persistence import OperationalError
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record
from libs.platform.tests.purchases import POISON, counted, noted
from libs.platform.tests.shop import (
    EVENTS,
    Customer,
    NotePurchase,
    Purchase,
    PurchaseMade,
    PurchaseNoted,
    note_purchase,
)
from libs.platform.tests.shop_store import Shop, job, order
from libs.platform.tests.tcp_link import link_to
from libs.platform.tests.waiting import eventually, running
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from crm_events.adapter import Channel, Direction, InteractionRecorded
from crm_events.envelope import Recorded
from crm_events.event import Event, Sealed
from crm_events.parties import Party
from crm_events.topics import INTERACTIONS, KEYS, Topic
from crm_platform import kafka, mongo
from crm_platform.cursor import Cursor, CursorMovedError
from crm_platform.delivery import Progress, Standing
from crm_platform.errors import NotAllowed
from crm_platform.event_store.recorder import GuardFailedError, Statement
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.keyring import Keyring, KeyringFiller
from crm_platform.policy import Policy, when
from crm_platform.policy_parking import PolicyParking
from crm_platform.policy_runner import PolicyRunner
from crm_platform.reactions import Reactions
from crm_platform.sealing import InstallationKey, SubjectKey
from crm_platform.testing import SOME_TIME, recorded, story_id
from crm_platform.wakeup import Wakeup
from crm_platform.work import UnitOfWork

pytestmark = pytest.mark.integration

OWN = Topic("t.shop", partitions=2)
READ = EVENTS.with_events((InteractionRecorded,))
PLACES = [*(TopicPartition(OWN.name, n) for n in range(OWN.partitions)), TopicPartition(INTERACTIONS.name, 0)]
SUBJECT = story_id("purchase")
TWIN = story_id("twin")
REFUSED = "refused"


class KeepTwin(Policy):
    """What is noted anywhere is noted on the twin, too."""

    name = "shop.keep-twin"
    topics: ClassVar[tuple[Topic, ...]] = (OWN, INTERACTIONS)

    def streams(self, event: Recorded[Event]) -> Iterable[UUID]:  # noqa: ARG002 - it is always the twin
        return (TWIN,)

    @when(PurchaseNoted)
    def noted(self, event: Recorded[PurchaseNoted], work: UnitOfWork) -> None:
        self._note(event.data.text, work)

    @when(PurchaseMade)
    def made(self, event: Recorded[PurchaseMade], work: UnitOfWork) -> None:
        customer = event.data.customer
        self._note("erased" if isinstance(customer, Sealed) else customer.name, work)

    @when(InteractionRecorded)
    def recorded(self, event: Recorded[InteractionRecorded], work: UnitOfWork) -> None:
        self._note(event.data.subject or "", work)

    @staticmethod
    def _note(text: str, work: UnitOfWork) -> None:
        twin = work.load(Purchase, TWIN)
        twin.note(text)
        work.save(twin)
        if text == POISON:
            raise ValueError(text)
        if text == REFUSED:
            raise NotAllowed("It is not taken.")


class KeepTwinBlindly(KeepTwin):
    """Does the same, and needs nobody's personal data for it."""

    @when(PurchaseMade, personal=False)
    def made_by_somebody(self, event: Recorded[PurchaseMade], work: UnitOfWork) -> None:
        self.made(event, work)


class Reader:
    """One process's policy, given records as Kafka would give them."""

    def __init__(self, shop: Shop, keyring: Keyring, policy: Policy) -> None:
        self.shop = shop
        self.reactions = Reactions(policy, shop.committer, keyring, lambda: SOME_TIME)
        recorder, self._beginning = shop.events.store, {place: Cursor() for place in PLACES}
        self.runner = PolicyRunner(policy, READ, recorder, self.reactions, shop.store, AUTHENTICATOR, "", "0")
        self.parking = PolicyParking(policy, READ, recorder, self.reactions, shop.store, AUTHENTICATOR)
        self.standing = Standing(dict(self._beginning))

    async def read(self, *records: ConsumerRecord, because: str | None = None) -> Progress:
        progress = await self.runner.apply(records, self.standing, because)
        self.standing.advance(progress)
        return progress

    async def restart(self) -> None:
        stored = await self.runner.standing(PLACES)
        self.standing = Standing(self._beginning | stored.cursors, stored.parked)

    def notes(self) -> list[str]:
        return self.shop.committer.staging().aggregate(Purchase, TWIN).notes

    def next_offset(self, topic: Topic = OWN, partition: int = 0) -> int:
        return self.standing.cursors[TopicPartition(topic.name, partition)].next_offset


@pytest_asyncio.fixture
async def keyring(database: mongo.Database, installation: InstallationKey, bootstrap: str) -> AsyncIterator[Keyring]:
    applied = Wakeup()
    name = f"keyring.{uuid4().hex}"
    ring = Keyring(database, installation, bootstrap, name, applied)
    async with running(KeyringFiller(name, database, ring, bootstrap, "0", applied).run):
        # Every test before has left its keys on the topic: a ring that begins is behind until it has read them.
        await has_read_all(ring, bootstrap)
        yield ring


async def has_read_all(ring: Keyring, bootstrap: str) -> None:
    """Until the ring holds all that the topic of the keys holds now."""
    async with kafka.reader(bootstrap) as client:
        ends = await kafka.end_offsets(client, KEYS.name, KEYS.partitions)
    await eventually(lambda: ring._has_read(ends), within=60)


@pytest.fixture
def new_reader(shop: Shop, keyring: Keyring) -> Callable[..., Reader]:
    return lambda policy=None: Reader(shop, keyring, policy or KeepTwin())


@pytest.fixture
def reader(new_reader: Callable[[], Reader]) -> Reader:
    return new_reader()


def _noted(offset: int, text: str, *, partition: int = 0) -> ConsumerRecord:
    """The n-th event of a chain in which every position is the offset's successor."""
    event = noted(SUBJECT, offset + 1, text)
    return as_record(OWN, offset, event, (offset + 1, offset), partition=partition)


def _interaction(offset: int, text: str, padding: str = "") -> ConsumerRecord:
    event = InteractionRecorded(
        occurred_at=SOME_TIME,
        external_id=str(offset),
        channel=Channel.NOTE,
        direction=Direction.INBOUND,
        party=Party(name="Ada"),
        subject=text,
        attributes={"padding": padding},
    )
    record = as_record(INTERACTIONS, offset, recorded(event), (0, 0))
    record.headers = record.headers[:2]
    return record


async def test_an_event_is_reacted_to_once_however_often_it_is_read(reader: Reader) -> None:
    await reader.read(_noted(0, "a"), _noted(1, "b"), _noted(0, "a"))
    await reader.restart()
    await reader.read(_noted(0, "a"), _noted(1, "b"), _noted(2, "c"))
    assert reader.notes() == ["a", "b", "c"]


async def test_a_reaction_says_what_caused_it(reader: Reader) -> None:
    await reader.read(_noted(0, "a"))
    (event,) = reader.shop.committer.staging()._load([TWIN])[TWIN].history
    assert (event.actor, event.correlation) == ("policy:shop.keep-twin", "story")
    assert event.causation == str(noted(SUBJECT, 1).id)


async def test_reaction_and_cursor_are_one_transaction(reader: Reader) -> None:
    await reader.read(_noted(0, "a"), _noted(1, "b"))
    (cursor,) = reader.shop.rows("SELECT xmin::text AS transaction FROM policy_cursors")
    assert {row["transaction"] for row in reader.shop.stored()} == {cursor["transaction"]}


async def test_what_fails_after_the_events_takes_events_and_cursor_back(reader: Reader) -> None:
    await reader.read(_noted(0, "a"))
    store = reader.shop.events.store
    moved = Statement("UPDATE policy_cursors SET next_offset = 9 RETURNING 1", (), rows=1)

    def dies(_: Any) -> list[Statement]:
        raise OSError("the process dies here")

    staging = reader.shop.committer.staging()
    reader.reactions._react(noted(SUBJECT, 2, "b"), staging)
    row = reader.shop.events.write(staging.staged[0])
    with pytest.raises(OSError, match="dies here"):
        await asyncio.to_thread(store.append, [row], guards=[moved], after=dies)
    with pytest.raises(GuardFailedError):
        await asyncio.to_thread(store.append, [row], guards=[moved, moved._replace(rows=2)])
    await reader.restart()
    assert (reader.notes(), reader.next_offset()) == (["a"], 1)


async def test_a_zombie_appends_nothing(reader: Reader, new_reader: Callable[[], Reader]) -> None:
    zombie = new_reader()
    await reader.read(_noted(0, "a"))
    with pytest.raises(CursorMovedError):
        await zombie.read(_noted(0, "a"), _noted(1, "b"))
    await zombie.restart()
    await reader.read(_noted(1, "b"))
    with pytest.raises(CursorMovedError):
        await zombie.read(_noted(1, "b"), _noted(2, "c"))
    assert reader.notes() == ["a", "b"]


async def test_a_lost_answer_to_commit_is_noticed_and_not_done_twice(
    postgres_uri: str, open_store: Callable[..., Awaitable[Shop]], keyring: Keyring
) -> None:
    server = conninfo_to_dict(postgres_uri)
    async with link_to(str(server["host"]), int(str(server["port"]))) as link:
        shop = await open_store(make_conninfo(postgres_uri, port=link.port, sslmode="disable"))
        reader = Reader(shop, keyring, KeepTwin())
        link.lose_answer_to(b"COMMIT")
        with pytest.raises(OperationalError):
            await reader.read(_noted(0, "a"))
        await reader.restart()
        await reader.read(_noted(0, "a"), _noted(1, "b"))
        notes = await asyncio.to_thread(reader.notes)
    assert notes == ["a", "b"]
    assert issubclass(OperationalError, PolicyRunner.transient)


async def test_a_reaction_overtaken_by_a_command_is_decided_again(
    reader: Reader, open_store: Callable[..., Awaitable[Shop]]
) -> None:
    other = await open_store()
    decide, decided = reader.reactions._react, []

    def react(event: Any, staging: Any, traceparent: str | None) -> None:
        decide(event, staging, traceparent)
        decided.append(event)
        if len(decided) == 1:
            other.committer.commands([job(note_purchase, NotePurchase(text="faster"), order(TWIN))])

    reader.reactions._react = react  # type: ignore[method-assign, assignment] # overtaken at the worst moment
    await reader.read(_noted(0, "a"))
    assert reader.notes() == ["faster", "a"]
    assert len(decided) == 2


async def test_an_adapters_bad_record_is_set_aside_and_the_others_flow(reader: Reader) -> None:
    tombstone, unknown = _interaction(3, "x"), as_record(INTERACTIONS, 4, b"{}", (0, 0), named="crm.sales.LeadLost.v1")
    tombstone.value = None
    huge = _interaction(5, "too large", padding="x" * 300_000)
    await reader.read(
        _interaction(0, "a"),
        as_record(INTERACTIONS, 1, b"{", (0, 0)),
        _interaction(2, REFUSED),
        tombstone,
        unknown,
        huge,
        _interaction(6, "b"),
    )
    assert reader.notes() == ["a", "b"]
    kept = reader.shop.rows("SELECT record_offset, reason FROM set_aside_records ORDER BY record_offset")
    assert [row["record_offset"] for row in kept] == [1, 2, 3, 4, 5]
    assert kept[1]["reason"] == "It is not taken."
    assert reader.next_offset(INTERACTIONS) == 7


async def test_behind_a_gap_nothing_is_reacted_to(reader: Reader) -> None:
    await reader.read(_noted(0, "a"), _noted(2, "c"))
    await reader.restart()
    assert reader.notes() == ["a"]
    assert reader.standing.cursors[TopicPartition(OWN.name, 0)].gap == 1
    await reader.read(_noted(1, "b"), _noted(2, "c"))
    assert reader.notes() == ["a", "b", "c"]


async def test_a_personal_block_arrives_open_or_sealed_where_its_key_is_erased(
    reader: Reader, bootstrap: str, keys: KafkaKeyPool, keyring: Keyring
) -> None:
    (kept, erased) = await asyncio.to_thread(keys.take, 2)
    async with kafka.producer(bootstrap) as producer:
        await producer.send_and_wait(KEYS.name, key=str(erased.id).encode(), value=None)
    await has_read_all(keyring, bootstrap)
    await reader.read(_made(0, kept), _made(1, erased))
    assert reader.notes() == ["Ada", "erased"]


async def test_a_reaction_that_needs_no_personal_block_gets_it_sealed(
    new_reader: Callable[..., Reader], keys: KafkaKeyPool
) -> None:
    reader = new_reader(KeepTwinBlindly())
    (kept,) = await asyncio.to_thread(keys.take, 1)
    await reader.read(_made(0, kept))
    assert reader.notes() == ["erased"]


def _made(offset: int, key: SubjectKey) -> ConsumerRecord:
    event = recorded(
        PurchaseMade(occurred_at=SOME_TIME, amount=1, customer=Customer(name="Ada")),
        subject=SUBJECT,
        sequence=offset + 1,
    )
    block = key.seal(Customer(name="Ada"), event=event.id, subject=SUBJECT)
    sealed = recorded(event.data.with_personal(block), subject=SUBJECT, sequence=offset + 1)
    return as_record(OWN, offset, sealed, (offset + 1, offset))


async def test_events_that_are_not_handled_cost_no_transaction_and_are_stored_with_the_next_that_is(
    reader: Reader,
) -> None:
    await reader.read(_noted(0, "a"))
    unhandled = [as_record(OWN, n, counted(SUBJECT, n + 1), (n + 1, n)) for n in (1, 2)]
    progress = await reader.read(*unhandled)
    assert progress.tally.outcomes == {(OWN.name, "skipped"): 2}
    assert [row["next_offset"] for row in reader.shop.rows("SELECT next_offset FROM policy_cursors")] == [1]
    stored = await reader.read(_noted(3, "d"))
    assert stored.tally.outcomes == {(OWN.name, "skipped"): 2, (OWN.name, "applied"): 1}
    assert [row["next_offset"] for row in reader.shop.rows("SELECT next_offset FROM policy_cursors")] == [4]
    assert reader.notes() == ["a", "d"]


async def test_what_a_rebalance_makes_it_read_again_is_counted_once(reader: Reader) -> None:
    skipped = as_record(OWN, 0, counted(SUBJECT, 1), (1, 0))
    assert (await reader.read(skipped)).deferred
    await reader.restart()
    assert (await reader.read(skipped, _noted(1, "b"))).tally.outcomes == {
        (OWN.name, "skipped"): 1,
        (OWN.name, "applied"): 1,
    }


async def test_cursors_without_an_effect_are_stored_by_a_batch_of_their_own(reader: Reader) -> None:
    await reader.read(as_record(OWN, 0, counted(SUBJECT, 1), (1, 0)))
    assert reader.shop.rows("SELECT * FROM policy_cursors") == []
    await reader.read()
    assert [row["next_offset"] for row in reader.shop.rows("SELECT next_offset FROM policy_cursors")] == [1]
    await reader.restart()
    assert reader.standing.cursors[PLACES[0]].skipped == {"crm.shop.PurchaseCounted.v1": 1}


async def test_a_zombie_that_only_skips_does_not_move_the_cursor_back(
    reader: Reader, new_reader: Callable[[], Reader]
) -> None:
    zombie = new_reader()
    await zombie.read(as_record(OWN, 0, counted(SUBJECT, 1), (1, 0)))
    await reader.read(as_record(OWN, 0, counted(SUBJECT, 1), (1, 0)), _noted(1, "b"))
    with pytest.raises(CursorMovedError):
        await zombie.read()
    assert [row["next_offset"] for row in reader.shop.rows("SELECT next_offset FROM policy_cursors")] == [2]
