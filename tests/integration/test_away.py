"""Kafka, MongoDB or PostgreSQL is away: nothing dies, what can be done is done, and it goes on by itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import aiohttp
import pytest
from door import Door, Reply, eventually
from ledger import stored_events
from replaced import replaced

from crm_events.sales import LeadLinked

SERVICES = ("sales", "gateway")


@asynccontextmanager
async def away(crm: Door, *parts: str) -> AsyncIterator[None]:
    """Those parts are stopped; the processes of the services are the same before and after."""
    if not set(parts) <= set(crm.stack.parts):
        pytest.skip("the infrastructure runs in containers, which the stack does not stop")
    before = {service: await asyncio.to_thread(crm.stack.pid, service) for service in SERVICES}
    for part in parts:
        await asyncio.to_thread(crm.stack.hold, part)
    try:
        yield
        for service in SERVICES:
            url = crm.stack.addresses.service_url(service)
            assert await probe(url, "/livez") == 200, "what is away kills nothing"
            assert await probe(url, "/readyz") == 200, "and takes nobody out of service"
    finally:
        for part in parts:
            await asyncio.to_thread(crm.stack.release, part)
    assert {service: await asyncio.to_thread(crm.stack.pid, service) for service in SERVICES} == before


async def probe(url: str, path: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url + path) as answer:
        return answer.status


async def capture(crm: Door, name: str) -> Reply:
    lead = {"party": {"email": f"{name}@example.org"}, "source": "away"}
    return await crm.post("/api/leads", lead, role="sales", headers={"Idempotency-Key": name})


async def captured(crm: Door, count: int) -> list[str]:
    return [(await capture(crm, uuid4().hex)).expect(201).id for _ in range(count)]


async def are_linked(crm: Door, leads: Sequence[str]) -> None:
    async def linked() -> bool:
        events = await asyncio.to_thread(stored_events, crm.stack, "sales")
        return {str(e.subject) for _, e in events if isinstance(e.data, LeadLinked)} >= set(leads)

    await eventually(linked, "contacts answers every lead, and sales links it", every=0.5)


async def test_commands_are_taken_while_kafka_is_away_and_go_on_when_it_is_back(crm: Door) -> None:
    async with away(crm, "kafka"):
        leads = await captured(crm, 20)

    await are_linked(crm, leads)


async def test_commands_are_taken_while_mongodb_is_away_and_reads_are_refused(crm: Door) -> None:
    async with away(crm, "mongodb"):
        leads = await captured(crm, 20)
        read = await crm.get("/api/leads", role="sales")

    assert read.is_problem(503)
    assert int(read.headers["Retry-After"]) >= 1
    await are_linked(crm, leads)
    (await crm.get("/api/leads", role="sales")).expect(200)


async def test_commands_are_refused_while_postgresql_is_away_and_count_once(crm: Door) -> None:
    name = uuid4().hex
    async with away(crm, "postgres"):
        refused = await capture(crm, name)
        (await crm.get("/api/leads", role="sales")).expect(200)

    assert refused.is_problem(503)
    assert int(refused.headers["Retry-After"]) >= 1

    async def taken() -> bool:
        return (await capture(crm, name)).status == 201

    await eventually(taken, "the same command is taken", within=10)
    lead = (await capture(crm, name)).expect(201).id
    await are_linked(crm, [lead])


async def test_a_process_that_starts_while_kafka_and_mongodb_are_away_takes_commands(crm: Door) -> None:
    """All but those with new personal data: their key must be published before it is used."""
    (lead,) = await captured(crm, 1)
    await are_linked(crm, [lead])
    version = (await crm.get(f"/api/leads/{lead}", role="sales")).expect(200).headers["ETag"]
    async with replaced(crm.stack, "sales") as sales:
        for part in ("kafka", "mongodb"):
            await asyncio.to_thread(crm.stack.hold, part)
        try:
            await sales.spawn()

            async def qualified() -> bool:
                headers = {"If-Match": version, "Idempotency-Key": lead}
                return (
                    await crm.post(f"/api/leads/{lead}/qualify", {"score": 80}, role="sales", headers=headers)
                ).status == 200

            await eventually(qualified, "a command that needs no new key is taken", within=60)
            refused = await capture(crm, uuid4().hex)
            unready = await probe(crm.stack.addresses.service_url("sales"), "/startupz")
        finally:
            for part in ("kafka", "mongodb"):
                await asyncio.to_thread(crm.stack.release, part)

        assert refused.is_problem(503)
        assert "Kafka" in refused.body["detail"]
        assert unready == 503

        async def started() -> bool:
            return await probe(crm.stack.addresses.service_url("sales"), "/readyz") == 200

        await eventually(started, "it is ready once they are back", within=60)
        await are_linked(crm, await captured(crm, 1))
