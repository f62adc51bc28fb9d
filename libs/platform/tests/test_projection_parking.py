"""Parking in a read model, on MongoDB: what cannot be applied waits with its key, in order; every other key flows."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from libs.platform.tests.kafka_topics import as_record
from libs.platform.tests.purchases import POISON, POISON_KEY, counted, noted, purchases_of
from libs.platform.tests.shop import EVENTS
from libs.platform.tests.test_projector import CHAIN, SUBJECT, TOPIC, Reader

from crm_platform import mongo
from crm_platform.consumer import CannotStoreError
from crm_platform.cursor import CursorMovedError
from crm_platform.errors import NotFound, Unavailable
from crm_platform.generations import Generation
from crm_platform.keyring import Keyring
from crm_platform.metrics import PARKED_RESOLVED
from crm_platform.parking import Discarded, Retried
from crm_platform.projection import Document, Fold, Projection
from crm_platform.read_model import ReadModel
from crm_platform.sealing import InstallationKey
from crm_platform.testing import story_id
from crm_platform.wakeup import Wakeup

pytestmark = pytest.mark.integration

KEY = str(SUBJECT)
OTHER = story_id("other")


@pytest_asyncio.fixture
async def reader(database: mongo.Database) -> Reader:
    reader = Reader(database)
    await reader.projector.prepare()
    return reader


def _poison(n: int, text: str = POISON) -> ConsumerRecord:
    """The n-th event of the chain, as one that cannot be folded."""
    return as_record(TOPIC, n - 1, noted(SUBJECT, n, text), (n * 10, (n - 1) * 10))


def _of_another_key(offset: int, position: int, previous: int, text: str = "") -> ConsumerRecord:
    return as_record(TOPIC, offset, noted(OTHER, 1, text), (position, previous))


def _mended() -> Projection:
    """A release that can fold what the one before could not."""

    def apply(projection: Projection, fold: Fold, document: Document | None, event: Any) -> Document:
        if event.data.text in (POISON, POISON_KEY):
            mended = noted(event.subject, event.sequence, "mended")
            return getattr(projection, fold.method)(document, mended)  # type: ignore[no-any-return]
        return getattr(projection, fold.method)(document, event)  # type: ignore[no-any-return]

    return purchases_of(TOPIC, apply=apply)


@pytest.mark.parametrize("text", [POISON, POISON_KEY])
async def test_an_event_that_cannot_be_folded_parks_its_key_and_no_other(reader: Reader, text: str) -> None:
    poison, elsewhere = _poison(2, text), as_record(TOPIC, 0, noted(uuid4(), 1), (15, 0), partition=1)
    progress = await reader.read(CHAIN[0], poison, CHAIN[2], _of_another_key(3, 40, 30), elsewhere)
    (first, behind) = progress.parked
    assert (first.inbound.record, behind.inbound.record) == (poison, CHAIN[2])
    assert first.reason is not None
    assert text not in first.reason, "what an event says does not reach the log"
    assert behind.reason is None, "it only waits"
    assert await reader.notes() == ["1"], "a fold that raises leaves all documents of its event as they were"
    assert await reader.notes(OTHER) == ["1"]
    assert (await reader.total(0), await reader.total(1)) == (2, 1)
    assert (reader.cursor(0).next_offset, reader.cursor(0).position) == (4, 40), "the partition flows"


async def test_later_events_of_a_parked_key_wait_also_after_a_restart(reader: Reader) -> None:
    await reader.read(CHAIN[0], _poison(2))
    await reader.read(CHAIN[2])
    await reader.restart()
    progress = await reader.read(CHAIN[3], _of_another_key(4, 50, 40))
    assert progress.tally.outcomes == {(TOPIC.name, "parked"): 1, (TOPIC.name, "applied"): 1}
    events = await reader.parking().events(TOPIC.name, KEY)
    assert [event.position for event in events] == [20, 30, 40]
    assert [event.reason is None for event in events] == [False, True, True]


async def test_a_parked_event_is_shown_as_it_was_read(reader: Reader) -> None:
    await reader.read(CHAIN[0], _poison(2), CHAIN[2])
    (key,) = await reader.parking().keys()
    shown = key.shown(reader.projection.identity)
    assert (shown["key"], shown["events"], shown["position"]) == (KEY, 2, 20)
    (first, _) = [event.shown() for event in await reader.parking().events(TOPIC.name, KEY)]
    assert (first["event_type"], first["record"]["data"]["text"]) == ("crm.shop.PurchaseNoted.v1", POISON)
    assert first["reason"].startswith("ValueError at event ")


async def test_a_read_after_a_write_that_is_parked_is_told_so_at_once_and_shows_it_once_it_is_resolved(
    reader: Reader, database: mongo.Database
) -> None:
    await reader.read(CHAIN[0], _poison(2), CHAIN[2], _of_another_key(3, 40, 30))
    keyring = Keyring(database, InstallationKey(b"i" * 32), "", "", Wakeup())
    model = ReadModel(Generation(reader.projection), database, EVENTS, keyring)

    for parked in (20, 30):
        with pytest.raises(Unavailable, match="waits for an operator"):
            await model.has_seen([f"{TOPIC.name}/0@{parked}"])
    assert await model.has_seen([f"{TOPIC.name}/0@10", f"{TOPIC.name}/0@40"]), "other writes are shown"

    reader.deploy(_mended())
    await reader.parking().retry(TOPIC.name, KEY)
    assert await model.has_seen([f"{TOPIC.name}/0@20", f"{TOPIC.name}/0@30"])


async def test_a_repeat_of_a_parked_event_parks_nothing_twice(reader: Reader) -> None:
    await reader.read(CHAIN[0], _poison(2))
    await reader.read(CHAIN[0], _poison(2), CHAIN[2])
    assert [event.position for event in await reader.parking().events(TOPIC.name, KEY)] == [20, 30]


async def test_once_mended_what_waited_is_applied_in_order(reader: Reader) -> None:
    await reader.read(CHAIN[0], _poison(2), *CHAIN[2:5])
    refused = await reader.parking().retry(TOPIC.name, KEY)
    assert (refused.applied, refused.remaining) == (0, 4)
    assert refused.reason is not None
    reader.deploy(_mended())
    assert await reader.parking().retry(TOPIC.name, KEY) == Retried(applied=4, remaining=0, reason=None)
    assert await reader.notes() == ["1", "mended", "3", "4", "5"]
    assert await reader.total() == 5
    assert await reader.parking().keys() == []


async def test_a_retry_goes_as_far_as_it_can_and_says_why_it_stopped(reader: Reader) -> None:
    await reader.read(CHAIN[0], _poison(2), CHAIN[2], _poison(4, POISON_KEY), CHAIN[4])
    await reader.parking().discard(TOPIC.name, KEY, actor="ada", reason="a bug of the till", everything=False)
    done = await reader.parking().retry(TOPIC.name, KEY)
    assert (done.applied, done.remaining) == (1, 2)
    assert done.reason is not None
    assert done.reason.startswith("KeyError at event ")
    assert await reader.notes() == ["1", "3"]


async def test_a_batch_that_began_before_the_retry_is_begun_again(reader: Reader, database: mongo.Database) -> None:
    """Live traffic on the same key: the order is kept across the boundary."""
    await reader.read(CHAIN[0], _poison(2), CHAIN[2])
    live = Reader(database)
    await live.restart()
    reader.deploy(_mended())
    await reader.parking().retry(TOPIC.name, KEY)
    with pytest.raises(CursorMovedError):
        await live.read(CHAIN[3])
    await live.restart()
    await live.read(CHAIN[3])
    assert await reader.notes() == ["1", "mended", "3", "4"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whenever_it_is_retried_while_more_comes_in_the_result_is_the_fold_of_all(
    data: st.DataObject, addresses: Any
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(2, 5), max_size=3)))
    moments = data.draw(st.lists(st.booleans(), min_size=len(cuts) + 1, max_size=len(cuts) + 1))
    batches = [[CHAIN[0], _poison(2), *CHAIN[2:]][a:b] for a, b in zip([0, *cuts], [*cuts, 6], strict=True)]
    asyncio.run(_retried_in_between(addresses.mongodb_uri, list(zip(batches, moments, strict=True))))


async def _retried_in_between(uri: str, steps: Sequence[tuple[Sequence[ConsumerRecord], bool]]) -> None:
    client = mongo.connect(uri)
    database = mongo.database(client, f"t_{uuid4().hex}")
    reader = Reader(database)
    await reader.projector.prepare()
    for number, (records, retried) in enumerate(steps):
        while True:
            try:
                await reader.read(*records)
                break
            except CursorMovedError:
                await reader.restart()
        if number == 0:
            # Only whoever retries has the mended release: the live process is restarted later.
            reader.projection = _mended()
        if retried:
            await _retry(reader)
    await _retry(reader)
    await reader.restart()
    assert await reader.notes() == ["1", "mended", "3", "4", "5", "6"]
    assert await reader.total() == 6
    assert reader.cursor().position == 60
    await client.drop_database(database.name)
    client.close()


async def _retry(reader: Reader) -> None:
    try:
        done = await reader.parking().retry(TOPIC.name, KEY)
    except NotFound:
        return
    assert done.remaining == 0, done.reason


async def test_a_discarded_event_is_kept_with_who_decided_it_and_why(reader: Reader, database: mongo.Database) -> None:
    await reader.read(CHAIN[0], _poison(2), CHAIN[2])
    gone = await reader.parking().discard(TOPIC.name, KEY, actor="ada", reason="sent by mistake", everything=False)
    assert gone == Discarded(discarded=1, remaining=1)
    (kept,) = await database["discarded_events"].find().to_list(None)
    assert (kept["discarded_by"], kept["discard_reason"], kept["position"]) == ("ada", "sent by mistake", 20)
    assert await reader.parking().retry(TOPIC.name, KEY) == Retried(1, 0, None)
    assert await reader.notes() == ["1", "3"]


async def test_all_of_a_key_can_be_discarded_and_it_flows_again(reader: Reader) -> None:
    await reader.read(CHAIN[0], _poison(2), CHAIN[2])
    gone = await reader.parking().discard(TOPIC.name, KEY, actor="ada", reason="a test record", everything=True)
    assert gone == Discarded(discarded=2, remaining=0)
    await reader.restart()
    await reader.read(CHAIN[3])
    assert await reader.notes() == ["1", "4"]


async def test_what_is_not_parked_cannot_be_resolved(reader: Reader) -> None:
    with pytest.raises(NotFound):
        await reader.parking().retry(TOPIC.name, KEY)
    with pytest.raises(NotFound):
        await reader.parking().discard(TOPIC.name, KEY, actor="ada", reason="nothing", everything=True)


@pytest.mark.parametrize(
    "broken",
    [
        as_record(TOPIC, 1, b"{", (20, 10), key=SUBJECT),
        as_record(TOPIC, 1, b"\xff", (20, 10), key=SUBJECT),
        as_record(TOPIC, 1, b"[]", (20, 10), key=SUBJECT),
        as_record(TOPIC, 1, b'{"type": "crm.shop.PurchaseNoted.v1", "data": {}}', (20, 10), key=SUBJECT),
        as_record(TOPIC, 1, b"[" * 100_000, (20, 10), key=SUBJECT),
        as_record(TOPIC, 1, b'{"type": "crm.shop.PurchaseNoted.v9"}', (20, 10), key=SUBJECT),
    ],
    ids=["not JSON", "not UTF-8", "no object", "no event", "too deep", "a later version"],
)
async def test_an_event_that_cannot_be_read_parks_its_key(reader: Reader, broken: ConsumerRecord) -> None:
    await reader.read(CHAIN[0], broken, CHAIN[2], _of_another_key(3, 40, 30))
    assert [event.position for event in await reader.parking().events(TOPIC.name, KEY)] == [20, 30]
    assert (await reader.notes(), await reader.notes(OTHER)) == (["1"], ["1"])


def _forged(position: int, previous: int, **members: Any) -> ConsumerRecord:
    record = as_record(TOPIC, 1, noted(SUBJECT, 2, "forged"), (position, previous), **members)
    record.headers[-1] = ("crm-mac", b"0" * 16)
    return record


def _without(name: str) -> ConsumerRecord:
    record = as_record(TOPIC, 1, noted(SUBJECT, 2, "forged"), (20, 10))
    record.headers[:] = [(n, value) for n, value in record.headers if n != name]
    return record


def _moved() -> ConsumerRecord:
    """A true record, copied to another place in the chain."""
    record = as_record(TOPIC, 1, noted(SUBJECT, 2, "forged"), (20, 10))
    record.headers[2] = ("ce_position", b"999999999")
    return record


@pytest.mark.parametrize(
    "crafted",
    [_forged(999_999_999, 10), _forged(20, 10), _without("crm-mac"), _without("ce_position"), _moved()],
    ids=["far ahead", "in place", "no proof", "no position", "moved"],
)
async def test_a_crafted_record_parks_its_own_key_and_moves_no_position(
    reader: Reader, crafted: ConsumerRecord
) -> None:
    true = as_record(TOPIC, 2, noted(OTHER, 1), (20, 10))
    progress = await reader.read(CHAIN[0], crafted, true)
    assert [parked.inbound.record for parked in progress.parked] == [crafted]
    assert (reader.cursor().position, reader.cursor().gap, reader.cursor().next_offset) == (20, None, 3)
    assert await reader.notes(OTHER) == ["1"]
    refused = await reader.parking().retry(TOPIC.name, KEY)
    assert (refused.applied, refused.remaining) == (0, 1), "no retry makes it true"
    await reader.parking().discard(TOPIC.name, KEY, actor="ada", reason="forged", everything=True)


@pytest.mark.parametrize("key", [None, b"", b"\xff" * 10, b"k" * 5_000, b"a/b"], ids=repr)
async def test_whatever_a_crafted_records_key_is_its_lot_can_be_named(reader: Reader, key: bytes | None) -> None:
    crafted = _without("crm-mac")
    crafted.key = key
    await reader.read(CHAIN[0], crafted)
    (parked,) = await reader.parking().keys()
    assert len(parked.first.key) <= 100
    assert parked.first.record_key == key
    gone = await reader.parking().discard(TOPIC.name, parked.first.key, actor="ada", reason="forged", everything=True)
    assert gone.discarded == 1


async def test_a_document_that_cannot_be_stored_is_found_and_parked(reader: Reader) -> None:
    """The store refuses the batch; cut in halves, one event remains that is parked."""
    huge = as_record(TOPIC, 1, noted(SUBJECT, 2, "x" * 1_100_000), (20, 10))
    with pytest.raises(CannotStoreError):
        await reader.read(CHAIN[0], huge, _of_another_key(2, 30, 20))
    assert await reader.total() == 0, "nothing of the batch is stored"
    await reader.read(CHAIN[0])
    with pytest.raises(CannotStoreError) as refusal:
        await reader.read(huge)
    await reader.read(huge, because=str(refusal.value))
    await reader.read(_of_another_key(2, 30, 20), as_record(TOPIC, 3, noted(SUBJECT, 3), (40, 30)))
    assert (await reader.notes(), await reader.notes(OTHER)) == (["1"], ["1"])
    done = await reader.parking().retry(TOPIC.name, KEY)
    assert (done.applied, done.remaining) == (0, 2)
    assert done.reason is not None
    assert "1048576 are kept" in done.reason


async def test_a_row_that_is_no_document_parks_the_keys_that_need_it(reader: Reader) -> None:
    await reader.read(CHAIN[0])
    await reader._collection(_kind(reader)).update_one({"_id": KEY}, {"$set": {"notes": "torn"}})
    progress = await reader.read(CHAIN[1], _of_another_key(2, 30, 20))
    assert [parked.inbound.key for parked in progress.parked] == [KEY]
    assert await reader.notes(OTHER) == ["1"]


def _kind(reader: Reader) -> type[Document]:
    return next(kind for kind in reader.projection.documents() if kind.collection == "purchases")


async def test_an_unhandled_event_behind_a_parked_one_waits_too_and_is_passed_over_in_its_turn(reader: Reader) -> None:
    await reader.read(
        CHAIN[0],
        _poison(2),
        as_record(TOPIC, 2, counted(SUBJECT, 3), (30, 20)),
        as_record(TOPIC, 3, noted(SUBJECT, 4), (40, 30)),
    )
    reader.deploy(_mended())
    assert (await reader.parking().retry(TOPIC.name, KEY)).remaining == 0


async def test_what_operators_resolve_is_counted(reader: Reader) -> None:
    labels = {"consumer": reader.projection.identity, "action": "discarded"}
    before = PARKED_RESOLVED.labels(**labels)._value.get()
    await reader.read(CHAIN[0], _poison(2))
    await reader.parking().discard(TOPIC.name, KEY, actor="ada", reason="sent twice", everything=True)
    assert PARKED_RESOLVED.labels(**labels)._value.get() == before + 1


async def test_a_crafted_record_that_is_read_again_is_parked_once_and_stays_discarded(reader: Reader) -> None:
    """Who looks back for a missing event meets it again; it has no position by which it would be known."""
    crafted = _without("crm-mac")
    await reader.read(CHAIN[0], crafted)
    await reader.restart()
    again = await reader.read(CHAIN[0], crafted)
    assert again.tally.outcomes == {(TOPIC.name, "duplicate"): 2}
    assert len(await reader.parking().events(TOPIC.name, KEY)) == 1
    await reader.parking().discard(TOPIC.name, KEY, actor="ada", reason="forged", everything=True)
    await reader.restart()
    await reader.read(CHAIN[0], crafted, CHAIN[1])
    assert await reader.parking().keys() == []
    assert await reader.notes() == ["1", "2"]
