"""The member of the local replica set gives way to a new one, which has copied what there is and nothing that was."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from door import eventually
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from crm_local.adjusted import adjust, adjustments
from crm_local.folder import StateFolder
from crm_local.mongodb import MongoDB
from crm_local.ports import HOST, free_ports
from crm_local.process import spawn, stop
from crm_local.stack import Stack

ELECTION_MS = 1_000
Client = AsyncMongoClient[dict[str, Any]]


async def resynced(stack: Stack) -> None:
    """MongoDB runs on files that a new member has written, at the old one's address."""
    old, folder = stack.addresses.part("mongodb").address, stack.folder.data("mongodb")
    with tempfile.TemporaryDirectory(prefix="crm-resync-") as root:
        new = _new_member(StateFolder(Path(root)), adjustments(stack.folder, "mongodb"))
        async with _running(new, StateFolder(Path(root))):
            await _reconfigured(old, _member(0, old), _member(1, new.address))
            await eventually(lambda: _has_a_vote(old), "the new member has copied everything, and is waited for")
            await asyncio.to_thread(stack.hold, "mongodb")
            await _reconfigured(new.address, _member(0, old), {**_member(1, new.address), "votes": 0}, force=True)
        shutil.rmtree(folder)
        shutil.move(StateFolder(Path(root)).data("mongodb"), folder)
    await asyncio.to_thread(stack.release, "mongodb")
    await _reconfigured(old, _member(0, old))


def _new_member(folder: StateFolder, settings: dict[str, str]) -> MongoDB:
    folder.create()
    adjust(folder, "mongodb", settings)
    return MongoDB(folder, *free_ports(1))


@asynccontextmanager
async def _running(member: MongoDB, folder: StateFolder) -> AsyncIterator[None]:
    await member.prepare(lambda _: None)
    launch = member.launch()
    process = await spawn(launch, folder.log("mongodb"))
    try:
        await eventually(lambda: _answers(member.address), "the new member answers")
        yield
    finally:
        await stop(process, launch)


def _member(number: int, address: str) -> dict[str, Any]:
    """The first one alone may be primary."""
    return {"_id": number, "host": address, "priority": 1 - number}


async def _reconfigured(at: str, *members: dict[str, Any], force: bool = False) -> None:
    async with _direct(at) as client:
        config = (await client.admin.command("replSetGetConfig"))["config"]
        settings = {**config["settings"], "electionTimeoutMillis": ELECTION_MS}
        wanted = {**config, "members": list(members), "version": config["version"] + 1, "settings": settings}
        await client.admin.command("replSetReconfig", wanted, force=force)


async def _answers(address: str) -> bool:
    try:
        async with _direct(address) as client:
            await client.admin.command("ping")
    except PyMongoError:
        return False
    return True


async def _has_a_vote(primary: str) -> bool:
    """From then on nothing counts as written that the second member does not have."""
    async with _direct(primary) as client:
        return bool((await client.admin.command("replSetGetStatus"))["votingMembersCount"] == 2)


def _direct(address: str) -> Client:
    host, _, port = address.partition(":")
    assert host == HOST
    return AsyncMongoClient(host, int(port), directConnection=True, serverSelectionTimeoutMS=3_000)
