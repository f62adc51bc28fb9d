"""Each event is linked to the stored bytes of the one before it in its stream."""

import base64
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from libs.platform.tests.event_chain.conftest import Vault
from libs.platform.tests.shop import EVENTS, NotePurchase, Purchase, note_purchase
from libs.platform.tests.shop_store import Shop, job, order

from crm_events.envelope import PREVIOUS_HASH, from_document, written_id
from crm_platform.work import UnitOfWork

pytestmark = pytest.mark.integration


def _links(vault: Vault, stream: UUID) -> list[str | None]:
    return [orjson.loads(row["state"]).get(PREVIOUS_HASH) for row in _stream(vault, stream)]


def _stream(vault: Vault, stream: UUID) -> list[dict[str, Any]]:
    return [row for row in vault.events() if row["originator_id"] == stream]


def _expected(vault: Vault, stream: UUID) -> list[str | None]:
    digests = [hashlib.sha256(row["state"]).digest() for row in _stream(vault, stream)]
    return [None, *(base64.urlsafe_b64encode(digest).decode().rstrip("=") for digest in digests[:-1])]


async def test_events_of_one_transaction_are_linked_to_each_other(vault: Vault) -> None:
    one, other = uuid4(), uuid4()
    vault.store(one, other, times=3)
    for stream in (one, other):
        assert len(_links(vault, stream)) == 7
        assert _links(vault, stream) == _expected(vault, stream)


async def test_an_event_is_linked_to_what_an_earlier_transaction_stored(vault: Vault) -> None:
    stream = uuid4()
    vault.store(stream)
    for text in ("a", "b"):
        vault.note(stream, text=text)
    assert _links(vault, stream) == _expected(vault, stream)


async def test_a_command_that_somebody_else_outran_is_linked_to_what_that_one_stored(
    vault: Vault, open_store: Callable[..., Awaitable[Shop]]
) -> None:
    faster, stream = await open_store(), uuid4()
    vault.note(stream, text="first")
    tries: list[NotePurchase] = []

    def note_late(command: NotePurchase, work: UnitOfWork) -> Purchase:
        purchase = work.load(Purchase, stream)
        if not tries:
            faster.committer.commands([job(note_purchase, NotePurchase(text="faster"), order(stream))])
        tries.append(command)
        purchase.note("late")
        return work.save(purchase)

    await vault.shop.store.run(note_late, NotePurchase(), order(stream))
    assert len(tries) == 2
    assert len(_links(vault, stream)) == 3
    assert _links(vault, stream) == _expected(vault, stream)


async def test_the_first_event_behind_those_of_an_older_release_is_linked_to_the_last_of_them(vault: Vault) -> None:
    stream = uuid4()
    vault.store_as_before(stream)
    vault.note(stream)
    links = _links(vault, stream)
    assert links[:2] == [None, None]
    assert links[2] == _expected(vault, stream)[2]


async def test_a_reader_knows_the_event_with_a_link_as_without(vault: Vault) -> None:
    stream = uuid4()
    vault.note(stream, stream)
    state = _stream(vault, stream)[1]["state"]
    document = orjson.loads(state)
    with_link = from_document(document, EVENTS)
    del document[PREVIOUS_HASH]
    assert from_document(document, EVENTS) == with_link
    assert written_id(state) == str(with_link.id).encode()
