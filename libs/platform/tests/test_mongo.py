"""MongoDB's refusals, and transactions that a successor or a second attempt finds held."""

import asyncio
import os
import sys
import threading
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio
from libs.platform.tests.waiting import eventually
from pymongo import InsertOne, ReplaceOne
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from crm_local.plan import Addresses
from crm_platform import mongo
from crm_platform.mongo_transactions import COLLECTION, Transactions

pytestmark = pytest.mark.integration

HOLDER = Path(__file__).parent / "transaction_holder.py"
OWNER = "shop.notes.v1-0"
AT_ONCE = 2.0
"""Seconds; what waits for a dead client's transaction waits for five times as long."""


@pytest_asyncio.fixture
async def notes(database: mongo.Database) -> mongo.Collection:
    await mongo.ensure_collection(database, "notes", {})
    await database["notes"].insert_one({"_id": "contested", "by": "nobody"})
    return database["notes"]


def _nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(depth):
        document = {"n": document}
    return document


UNSTORABLE = {
    "too large": {"_id": 1, "b": b"x" * (17 * 1024 * 1024)},
    "an integer of more than 8 bytes": {"_id": 1, "n": 1 << 70},
    "a name with a NUL": {"_id": 1, "a\0b": 1},
    "half a character": {"_id": 1, "s": "\ud800"},
    "no value of BSON": {"_id": 1, "o": object()},
    "nested too deep for the server": {"_id": 1, "d": _nested(300)},
    "nested too deep for the driver": {"_id": 1, "d": _nested(5_000)},
    "an id that is a list": {"_id": [1]},
    "an id with an operator in it": {"_id": {"$a": 1}},
}


@pytest.mark.parametrize("document", UNSTORABLE.values(), ids=UNSTORABLE.keys())
async def test_what_can_never_be_stored_is_told_as_such(
    database: mongo.Database, notes: mongo.Collection, document: mongo.Row
) -> None:
    with pytest.raises(Exception) as one:  # noqa: PT011 - the drivers raise many kinds, which is the point
        await notes.insert_one(document)
    assert mongo.refused(one.value)
    operations = [InsertOne(document), ReplaceOne({"_id": document["_id"]}, document, upsert=True)]
    for operation in operations:

        def work(session: mongo.Session, operation: Any = operation) -> None:
            mongo.blocking(notes).bulk_write([operation], ordered=False, session=session)

        with pytest.raises(Exception) as many:  # noqa: PT011
            await mongo.in_transaction(database.client, work)
        assert mongo.refused(many.value)


async def test_a_document_that_grows_too_large_is_refused(notes: mongo.Collection) -> None:
    await notes.insert_one({"_id": 1, "b": b"x" * (10 * 1024 * 1024)})
    with pytest.raises(OperationFailure) as grown:
        await notes.update_one({"_id": 1}, {"$set": {"c": b"x" * (8 * 1024 * 1024)}})
    assert mongo.refused(grown.value)


async def test_what_is_there_already_is_refused(notes: mongo.Collection) -> None:
    with pytest.raises(DuplicateKeyError) as repeated:
        await notes.insert_one({"_id": "contested"})
    assert mongo.refused(repeated.value)


async def test_what_passes_is_no_refusal(database: mongo.Database, notes: mongo.Collection) -> None:
    nowhere = mongo.connect("mongodb://127.0.0.1:1/?directConnection=true")
    with pytest.raises(PyMongoError) as away:
        await nowhere["any"]["any"].find_one({})
    nowhere.close()
    async with await database.client.start_session() as first:
        first.start_transaction()
        await notes.update_one({"_id": "contested"}, {"$set": {"by": "first"}}, session=first)
        conflict = await _conflict(database, notes)
    assert not any(mongo.refused(passing) for passing in (away.value, conflict, KeyError("ours")))


async def _conflict(database: mongo.Database, notes: mongo.Collection) -> OperationFailure:
    """What MongoDB says to a second transaction on a document that another one holds."""
    async with await database.client.start_session() as session:
        session.start_transaction()
        with pytest.raises(OperationFailure) as conflict:
            await notes.update_one({"_id": "contested"}, {"$set": {"by": "a stranger"}}, session=session)
    assert conflict.value.has_error_label("TransientTransactionError")
    return conflict.value


@pytest_asyncio.fixture
async def killed(addresses: Addresses, database: mongo.Database, notes: mongo.Collection) -> None:
    """The owner has been killed in the middle of its transaction, which still holds the contested note."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HOLDER),
        env={**os.environ, "MONGODB_URI": addresses.mongodb_uri, "DATABASE": database.name, "OWNER": OWNER},
    )
    try:

        async def holds() -> bool:
            return await database["marks"].find_one({"_id": "held"}) is not None

        await eventually(holds)
    finally:
        process.kill()
        await process.wait()
    await _conflict(database, notes)


@pytest.mark.usefixtures("killed")
async def test_a_successor_ends_the_transaction_of_the_killed_owner(
    database: mongo.Database, notes: mongo.Collection
) -> None:
    begun = monotonic()
    await Transactions(database, OWNER).run(_claim(notes, "the successor"))
    assert monotonic() - begun < AT_ONCE
    assert await _owner_of(notes) == "the successor"


async def test_each_owner_has_one_session_on_record(database: mongo.Database, notes: mongo.Collection) -> None:
    transactions = Transactions(database, OWNER)
    await transactions.open()
    before = await database[COLLECTION].find().to_list(None)
    await transactions.open()
    await asyncio.gather(*(transactions.run(_claim(notes, f"turn {n}")) for n in range(5)))
    assert await database[COLLECTION].find().to_list(None) == before
    await Transactions(database, OWNER).open()
    await Transactions(database, "another").open()
    assert {row["_id"] for row in await database[COLLECTION].find().to_list(None)} == {OWNER, "another"}


async def test_a_zombie_whose_session_was_ended_does_its_work_again(
    database: mongo.Database, notes: mongo.Collection
) -> None:
    zombie, runs, loop = Transactions(database, OWNER), 0, asyncio.get_running_loop()

    def overtaken(session: mongo.Session) -> None:
        nonlocal runs
        runs += 1
        _set_owner(notes, "the zombie", session)
        if runs == 1:
            successor = Transactions(database, OWNER).run(_claim(notes, "the successor"))
            asyncio.run_coroutine_threadsafe(successor, loop).result()

    await zombie.run(overtaken)
    assert runs == 2
    assert await _owner_of(notes) == "the zombie"


async def test_after_a_cancelled_run_the_next_one_finds_nothing_held(
    database: mongo.Database, notes: mongo.Collection
) -> None:
    transactions, reached, released = Transactions(database, OWNER), threading.Event(), threading.Event()

    def stuck(session: mongo.Session) -> None:
        _set_owner(notes, "the cancelled", session)
        reached.set()
        released.wait()

    running = asyncio.create_task(transactions.run(stuck))
    try:
        await asyncio.to_thread(reached.wait)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        begun = monotonic()
        await transactions.run(_claim(notes, "the next"))
        assert monotonic() - begun < AT_ONCE
        assert await _owner_of(notes) == "the next"
    finally:
        released.set()


async def test_a_failed_work_leaves_nothing_and_the_session_usable(
    database: mongo.Database, notes: mongo.Collection
) -> None:
    transactions = Transactions(database, OWNER)

    def fails(session: mongo.Session) -> None:
        _set_owner(notes, "the failed", session)
        raise LookupError("it fails after it has written")

    with pytest.raises(LookupError):
        await transactions.run(fails)
    assert await _owner_of(notes) == "nobody"
    await transactions.run(_claim(notes, "the next"))
    assert await _owner_of(notes) == "the next"


def _claim(notes: mongo.Collection, by: str) -> mongo.Work[None]:
    return partial(_set_owner, notes, by)


def _set_owner(notes: mongo.Collection, by: str, session: mongo.Session) -> None:
    mongo.blocking(notes).update_one({"_id": "contested"}, {"$set": {"by": by}}, session=session)


async def _owner_of(notes: mongo.Collection) -> str:
    row = await notes.find_one({"_id": "contested"})
    assert row is not None
    return str(row["by"])
