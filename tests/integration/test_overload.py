"""More is asked than can be answered: who is refused is told when to come back, and memory stays as it was."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable

import aiohttp
import psutil
from door import Door, eventually
from replaced import replaced

CLIENTS = 500
SECONDS = 6.0
IN_WORK = 64
QUOTA = 1_000
"""Requests that one subject may send in 10 seconds: few, so that some are refused for that too."""
GROWS_AT_MOST = 128 * 1024 * 1024


class Storm:
    """Clients that all ask at once, again and again, whatever they are told."""

    def __init__(self, crm: Door) -> None:
        self._leads = crm.stack.addresses.service_url("gateway") + "/api/leads"
        self._tokens = [crm.stack.token("sales", subject=f"person-{n}") for n in range(4)]
        self.statuses: Counter[int] = Counter()
        self.without_retry_after: list[str] = []

    async def blow(self) -> None:
        ends = time.monotonic() + SECONDS
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            await asyncio.gather(*(self._client(n, session, ends) for n in range(CLIENTS)))

    async def _client(self, n: int, session: aiohttp.ClientSession, ends: float) -> None:
        headers = {"Authorization": f"Bearer {self._tokens[n % len(self._tokens)]}"}
        while time.monotonic() < ends:
            lead = {"party": {"email": f"storm-{n}@example.org"}, "source": "storm"}
            async with session.post(self._leads, json=lead, headers=headers) as answer:
                await answer.read()
                self.statuses[answer.status] += 1
                if answer.status >= 400 and "Retry-After" not in answer.headers:
                    self.without_retry_after.append(f"{answer.status} {answer.content_type}")


async def most_memory(pids: Iterable[int], until: asyncio.Task[None]) -> dict[int, int]:
    """The most that each process held in memory while the task ran."""
    most = dict.fromkeys(pids, 0)
    while not until.done():
        most = {pid: max(held, psutil.Process(pid).memory_info().rss) for pid, held in most.items()}
        await asyncio.wait({until}, timeout=0.1)
    await until
    return most


async def test_a_storm_is_shed_and_passes(crm: Door) -> None:
    settings = {"CRM_REQUESTS_IN_WORK": str(IN_WORK), "CRM_RATE_LIMIT_PEOPLE": str(QUOTA)}
    async with replaced(crm.stack, "gateway", settings) as gateway:
        await gateway.start()
        (await crm.get("/api/leads", role="sales")).expect(200)
        pids = [gateway.pid, await asyncio.to_thread(crm.stack.pid, "sales")]
        before = {pid: psutil.Process(pid).memory_info().rss for pid in pids}
        storm = Storm(crm)

        most = await most_memory(pids, asyncio.create_task(storm.blow()))

        assert set(storm.statuses) <= {201, 429, 503}, storm.statuses
        assert storm.statuses[201], "those in work are answered"
        assert storm.statuses[503], "what is too much at once is shed"
        assert storm.without_retry_after == []
        for pid in pids:
            assert most[pid] - before[pid] < GROWS_AT_MOST, f"{before[pid]} -> {most[pid]} bytes"
        assert psutil.pid_exists(gateway.pid)

        async def is_served() -> bool:
            return (await crm.get("/api/leads", role="sales")).status == 200

        await eventually(is_served, "it is served as before", within=10)
        assert (await crm.send("GET", "/readyz", role=None, headers={})).status == 200


async def test_a_subject_that_goes_on_asking_is_told_to_wait_and_the_others_are_served(crm: Door) -> None:
    async with replaced(crm.stack, "gateway", {"CRM_RATE_LIMIT_PEOPLE": "20"}) as gateway:
        await gateway.start()
        answers = [await crm.get("/api/leads", role="sales") for _ in range(25)]
        other = await crm.get("/api/leads", role="service")

    assert {answer.status for answer in answers[:20]} == {200}
    refused = [answer for answer in answers if answer.status != 200]
    assert refused
    assert all(answer.is_problem(429) and 1 <= int(answer.headers["Retry-After"]) <= 10 for answer in refused)
    assert other.status in (200, 403), "another subject has its own quota"
