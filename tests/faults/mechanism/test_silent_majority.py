"""F16 at the store of read models: what no majority has taken is not told as stored."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from libs.platform.tests.waiting import eventually
from tests.faults.replica_set import MEMORY_NEEDED, ReplicaSet, replica_set

from crm_platform import mongo

FROZEN_SECONDS = 4.0


@pytest_asyncio.fixture(loop_scope="session")
async def trio(tmp_path: Path) -> AsyncIterator[ReplicaSet]:
    if psutil.virtual_memory().available < MEMORY_NEEDED:
        pytest.skip(f"three mongod need {MEMORY_NEEDED >> 20} MiB of memory")
    async with replica_set(tmp_path) as members:
        yield members


@pytest.mark.row("F16", "SIGSTOP of both secondaries while the primary writes", "no phantom success; I6")
async def test_a_write_that_no_majority_took_is_not_told_as_stored(trio: ReplicaSet) -> None:
    client = mongo.connect(trio.uri)
    database = mongo.database(client, "phantom")
    await mongo.ensure_collection(database, "rows", {})

    async def write(name: str) -> None:
        def work(session: mongo.Session) -> None:
            mongo.blocking(database["rows"]).insert_one({"_id": name}, session=session)

        await mongo.in_transaction(client, work)

    await write("before")
    primary = await trio.primary()
    secondaries = [psutil.Process(process.pid) for port, process in trio.processes.items() if port != primary]
    for each in secondaries:
        each.suspend()
    writing = asyncio.create_task(write("alone"))
    done, _ = await asyncio.wait({writing}, timeout=FROZEN_SECONDS)
    told_as_stored = bool(done) and writing.exception() is None
    for each in secondaries:
        each.resume()
    assert not told_as_stored, "one of three took it, and it was told as stored"
    await asyncio.wait({writing})
    stored = writing.exception() is None

    async def goes_on() -> bool:
        try:
            await write("after")
        except mongo.MongoError as away:
            return "E11000" in str(away)
        return True

    await eventually(goes_on, within=30)
    names = {row["_id"] async for row in database["rows"].find()}
    assert not stored or "alone" in names, "it was told as stored and is gone"
    client.close()
