"""Parking in a policy, on PostgreSQL: what cannot be reacted to waits with its key, in order; every other key flows."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest
from aiokafka import ConsumerRecord
from libs.platform.tests.kafka_topics import as_record
from libs.platform.tests.purchases import POISON, counted, noted
from libs.platform.tests.shop import Customer, PurchaseMade
from libs.platform.tests.test_policy_runner import (
    OWN,
    REFUSED,
    SUBJECT,
    Reader,
    _interaction,
    _made,
    _noted,
    keyring,
    new_reader,
    reader,
)

from crm_events.topics import INTERACTIONS
from crm_platform.consumer import CannotStoreError
from crm_platform.cursor import CursorMovedError
from crm_platform.errors import NotFound
from crm_platform.key_pool import KafkaKeyPool
from crm_platform.parking import Discarded, Retried
from crm_platform.sealing import SubjectKey
from crm_platform.testing import SOME_TIME, recorded, story_id

__all__ = ["keyring", "new_reader", "reader"]

pytestmark = pytest.mark.integration

KEY = str(SUBJECT)
OTHER = story_id("other")


def _of(stream: UUID, offset: int, text: str, *, partition: int = 0) -> ConsumerRecord:
    return as_record(OWN, offset, noted(stream, 1, text), (offset + 1, offset), partition=partition)


def _mend(reader: Reader) -> None:
    """A release that can react to what the one before could not."""
    react = reader.reactions._policy._note  # type: ignore[attr-defined] # the test's own policy

    def note(text: str, work: object) -> None:
        react("mended" if text in (POISON, REFUSED) else text, work)

    reader.reactions._policy._note = note  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", [POISON, REFUSED])
async def test_a_reaction_that_fails_parks_its_key_and_leaves_nothing(reader: Reader, text: str) -> None:
    records = [_noted(0, "a"), _noted(1, text), _noted(2, "c"), _of(OTHER, 3, "d"), _of(OTHER, 0, "z", partition=1)]
    progress = await reader.read(*records)
    (first, behind) = progress.parked
    assert (first.inbound.record.offset, behind.inbound.record.offset) == (1, 2)
    assert POISON not in str(first.reason)
    assert behind.reason is None
    assert reader.notes() == ["a", "d", "z"]
    assert (reader.next_offset(partition=0), reader.next_offset(partition=1)) == (4, 1), "the partitions flow"


async def test_events_parked_events_and_cursor_are_one_transaction(reader: Reader) -> None:
    await reader.read(_noted(0, "a"), _noted(1, POISON))
    (cursor,) = reader.shop.rows("SELECT xmin::text AS transaction FROM policy_cursors")
    (parked,) = reader.shop.rows("SELECT xmin::text AS transaction FROM parked_events")
    assert {row["transaction"] for row in reader.shop.stored()} == {cursor["transaction"]} == {parked["transaction"]}


async def test_later_events_of_a_parked_key_wait_also_after_a_restart(reader: Reader) -> None:
    await reader.read(_noted(0, POISON))
    await reader.restart()
    progress = await reader.read(_noted(1, "b"), _of(OTHER, 2, "c"))
    assert progress.tally.outcomes == {(OWN.name, "parked"): 1, (OWN.name, "applied"): 1}
    assert [event.position for event in await reader.parking.events(OWN.name, KEY)] == [1, 2]


async def test_once_mended_what_waited_is_reacted_to_in_order(reader: Reader) -> None:
    await reader.read(_noted(0, "a"), _noted(1, POISON), _noted(2, "c"), _of(OTHER, 3, "d"))
    refused = await reader.parking.retry(OWN.name, KEY)
    assert (refused.applied, refused.remaining) == (0, 2)
    _mend(reader)
    assert await reader.parking.retry(OWN.name, KEY) == Retried(applied=2, remaining=0, reason=None)
    assert reader.notes() == ["a", "d", "mended", "c"]
    assert await reader.parking.keys() == []


async def test_a_batch_that_was_decided_before_the_retry_is_decided_again(
    reader: Reader, new_reader: Callable[[], Reader]
) -> None:
    """Live traffic on the same key: the order is kept across the boundary."""
    await reader.read(_noted(0, POISON), _noted(1, "b"))
    live = new_reader()
    await live.restart()
    _mend(reader)
    await reader.parking.retry(OWN.name, KEY)
    with pytest.raises(CursorMovedError):
        await live.read(_noted(2, "c"))
    await live.restart()
    await live.read(_noted(2, "c"))
    assert reader.notes() == ["mended", "b", "c"]


async def test_two_who_retry_at_once_react_once(reader: Reader, new_reader: Callable[[], Reader]) -> None:
    await reader.read(_noted(0, POISON), _noted(1, "b"))
    other = new_reader()
    _mend(reader)
    _mend(other)
    done = await asyncio.gather(
        reader.parking.retry(OWN.name, KEY), other.parking.retry(OWN.name, KEY), return_exceptions=True
    )
    assert sum(outcome.applied for outcome in done if isinstance(outcome, Retried)) == 2
    assert reader.notes() == ["mended", "b"]


async def test_a_discarded_event_is_kept_with_who_decided_it_and_why(reader: Reader) -> None:
    await reader.read(_noted(0, POISON), _noted(1, "b"))
    gone = await reader.parking.discard(OWN.name, KEY, actor="ada", reason="sent by mistake", everything=False)
    assert gone == Discarded(discarded=1, remaining=1)
    (kept,) = reader.shop.rows("SELECT position, discarded_by, discard_reason FROM discarded_events")
    assert kept == {"position": 1, "discarded_by": "ada", "discard_reason": "sent by mistake"}
    assert await reader.parking.retry(OWN.name, KEY) == Retried(1, 0, None)
    assert reader.notes() == ["b"]


async def test_a_discard_fences_a_batch_under_way(reader: Reader) -> None:
    await reader.read(_noted(0, POISON))
    await reader.parking.discard(OWN.name, KEY, actor="ada", reason="a test record", everything=True)
    with pytest.raises(CursorMovedError):
        await reader.read(_noted(1, "b"))
    await reader.restart()
    await reader.read(_noted(1, "b"))
    assert reader.notes() == ["b"]


async def test_what_is_not_parked_cannot_be_resolved(reader: Reader) -> None:
    with pytest.raises(NotFound):
        await reader.parking.retry(OWN.name, KEY)
    with pytest.raises(NotFound):
        await reader.parking.discard(OWN.name, KEY, actor="ada", reason="nothing", everything=True)


async def test_a_stream_of_ours_that_cannot_be_read_parks_the_keys_that_need_it(reader: Reader) -> None:
    await reader.read(_noted(0, "a"))
    with reader.shop.events.store.datastore.get_connection() as connection:
        connection.execute("UPDATE store_events SET state = '{}'")
    progress = await reader.read(_noted(1, "b"))
    assert [parked.inbound.record.offset for parked in progress.parked] == [1]


async def test_an_event_of_ours_that_cannot_be_read_parks_its_key(reader: Reader) -> None:
    broken = as_record(OWN, 1, b"{", (2, 1), key=SUBJECT)
    lost = as_record(OWN, 0, counted(SUBJECT, 1), (1, 0), partition=1)
    lost.headers[2] = ("ce_position", b"first")
    progress = await reader.read(_noted(0, "a"), broken, _noted(2, "c"), _of(OTHER, 3, "d"), lost)
    assert [parked.inbound.record.offset for parked in progress.parked] == [1, 2, 0]
    assert reader.notes() == ["a", "d"]


async def test_a_block_that_was_altered_parks_its_key(reader: Reader, keys: KafkaKeyPool) -> None:
    (key,) = await asyncio.to_thread(keys.take, 1)
    progress = await reader.read(_made(0, SubjectKey(key.id, b"o" * 32)))
    assert len(progress.parked) == 1
    assert reader.notes() == []


async def test_the_lot_holds_personal_data_sealed_only(reader: Reader, keys: KafkaKeyPool) -> None:
    (key,) = await asyncio.to_thread(keys.take, 1)
    event = recorded(
        PurchaseMade(occurred_at=SOME_TIME, amount=1, customer=Customer(name=POISON)), subject=SUBJECT, sequence=1
    )
    block = key.seal(Customer(name=POISON), event=event.id, subject=SUBJECT)
    sealed = recorded(event.data.with_personal(block), subject=SUBJECT, sequence=1)
    await reader.read(as_record(OWN, 0, sealed, (1, 0)))
    (parked,) = reader.shop.rows("SELECT * FROM parked_events")
    assert POISON.encode() not in bytes(parked["value"])
    assert POISON not in str(parked["reason"])


async def test_an_adapters_record_that_meets_a_fault_of_ours_is_parked_with_its_key(reader: Reader) -> None:
    progress = await reader.read(_interaction(0, POISON), _interaction(1, "b"))
    assert progress.tally.outcomes == {(INTERACTIONS.name, "parked"): 2}, "one stream, one key"
    (parked,) = await reader.parking.keys()
    assert (parked.events, parked.first.position) == (2, None)
    _mend(reader)
    await reader.parking.retry(INTERACTIONS.name, parked.first.key)
    assert reader.notes() == ["mended", "b"]


async def test_what_would_be_too_large_to_store_is_parked(reader: Reader) -> None:
    huge = _noted(0, "x" * 600_000)
    with pytest.raises(CannotStoreError) as refusal:
        await reader.read(huge)
    assert reader.notes() == []
    await reader.read(huge, because=str(refusal.value))
    await reader.read(_of(OTHER, 1, "b"))
    assert reader.notes() == ["b"]
    done = await reader.parking.retry(OWN.name, KEY)
    assert (done.applied, done.remaining) == (0, 1)
    assert done.reason is not None


async def test_a_crafted_record_that_is_read_again_is_parked_once_and_stays_discarded(reader: Reader) -> None:
    crafted = _noted(1, "forged")
    crafted.headers[-1] = ("crm-mac", b"0" * 16)
    await reader.read(_noted(0, "a"), crafted)
    await reader.restart()
    await reader.read(_noted(0, "a"), crafted)
    assert len(await reader.parking.events(OWN.name, KEY)) == 1
    await reader.parking.discard(OWN.name, KEY, actor="ada", reason="forged", everything=True)
    await reader.restart()
    await reader.read(_noted(0, "a"), crafted, as_record(OWN, 2, noted(SUBJECT, 2, "b"), (2, 1)))
    assert await reader.parking.keys() == []
    assert reader.notes() == ["a", "b"]
