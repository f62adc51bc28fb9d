"""The installation's key is changed while people work: refused is what a restart refuses, and nothing is lost."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import aiohttp
import pytest
from command_line import Outcome, crm_command
from door import Door, eventually

from crm_local.credentials import ACCEPTED_KEYS, FORMER_PROOFS, INSTALLATION_KEY, lines
from crm_local.process import environment_of
from crm_local.stack import Stack

ROTATES_WITHIN = 600.0
WORKERS = 4


class Work:
    """People who take leads and look customers up, without a pause."""

    def __init__(self, crm: Door) -> None:
        self._crm = crm
        self.taken: dict[str, str] = {}
        self.surprises: list[str] = []
        self.refused = 0

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]
        try:
            yield
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            name = f"rotated-{uuid4().hex}"
            try:
                await self._take(name)
            except aiohttp.ClientError:
                # The one gateway of this stack is being restarted itself.
                self.refused += 1
            await asyncio.sleep(0.1)

    async def _take(self, name: str) -> None:
        lead = {"party": {"email": f"{name}@example.org", "name": name}, "source": "rotation"}
        reply = await self._crm.post("/api/leads", lead, role="sales", headers={"Idempotency-Key": name})
        if reply.status == 201:
            self.taken[name] = reply.id
            reply = await self._crm.get(f"/api/leads/{reply.id}", role="sales", after=reply.position)
        if reply.status == 503 and "Retry-After" in reply.headers:
            self.refused += 1
        elif reply.status not in (200, 201):
            self.surprises.append(f"{reply.status}: {reply.body}")


async def told(stack: Stack, *arguments: str) -> Outcome:
    outcome = await crm_command(stack, *arguments)
    assert outcome.code == 0, outcome
    return outcome


async def rotated(stack: Stack) -> None:
    async with asyncio.timeout(ROTATES_WITHIN):
        process = await _rotating(stack)
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def _rotating(stack: Stack) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "crm_local",
        "keys",
        "rotate",
        env={**environment_of(stack.addresses.part("sales").launch()), "CRM_LOCAL_DIR": str(stack.folder.root)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def are_shown(crm: Door, *names: str) -> None:
    """The people of those names can be read."""

    async def shown() -> bool:
        found = [await crm.get("/api/customers", email=f"{name}@example.org") for name in names]
        return all(each.status == 200 for each in found) and [each.body["profile"]["name"] for each in found] == [
            *names
        ]

    await eventually(shown, f"{names} can be read")


@pytest.mark.timeout(1200)
async def test_the_key_is_changed_under_load_interrupted_and_given_up(crm: Door) -> None:
    stack, work = crm.stack, Work(crm)
    (before,) = lines(stack.folder, INSTALLATION_KEY)
    async with work.going_on():
        await eventually(lambda: _has(work, 5), "leads are taken")
        process = await _rotating(stack)
        assert process.stdout is not None
        while b"restarting service" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        rest = await process.stdout.read()
        assert await process.wait() == 130, rest.decode()
        (still,) = lines(stack.folder, INSTALLATION_KEY)
        assert still == before
        await rotated(stack)
        taken = len(work.taken)
        await eventually(lambda: _has(work, taken + 5), "leads are taken under the new key")
    assert work.surprises == []
    (after,) = lines(stack.folder, INSTALLATION_KEY)
    assert after != before
    assert before in lines(stack.folder, ACCEPTED_KEYS)
    await told(stack, "keys", "check")

    first, last = next(iter(work.taken)), next(reversed(work.taken))
    await are_shown(crm, first, last)
    await told(stack, "verify", "--chain")
    await told(stack, "verify", "sales.leads")

    await told(stack, "keys", "retire")
    assert before not in (*lines(stack.folder, ACCEPTED_KEYS), *lines(stack.folder, INSTALLATION_KEY))
    assert len(lines(stack.folder, FORMER_PROOFS)) >= 1
    await are_shown(crm, first, last)
    await told(stack, "verify", "--chain")
    await told(stack, "verify", "sales.leads")


async def _has(work: Work, leads: int) -> bool:
    return len(work.taken) >= leads
