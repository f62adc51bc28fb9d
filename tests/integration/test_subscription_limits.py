"""Open streams are bounded, take nothing from requests, and end in good order when the gateway stops."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import uuid4

from door import Door, eventually
from listening import STREAM, Listening, listening
from replaced import replaced

ENDS_WITHIN = 15.0
SETTINGS = {
    "CRM_EVENT_STREAMS": "4",
    "CRM_EVENT_STREAMS_PER_SUBJECT": "3",
    "CRM_REQUESTS_IN_WORK": "2",
    "CRM_RATE_LIMIT_PEOPLE": "40",
}


async def _open_streams(crm: Door) -> float:
    metrics = (await crm.send("GET", "/metrics", role=None, headers={})).expect(200).body.decode()
    return next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("crm_event_streams "))


async def test_open_streams_are_bounded_and_take_nothing_from_requests(crm: Door) -> None:
    now = datetime.now(UTC).isoformat()
    async with replaced(crm.stack, "gateway", SETTINGS) as gateway:
        await gateway.start()
        async with AsyncExitStack() as opened:
            mine = crm.stack.token("analyst", subject=f"many {uuid4()}")
            for _ in range(3):
                await opened.enter_async_context(listening(crm, [("from", now)], token=mine))
            await _is_refused(crm, mine, 429)
            other = crm.stack.token("sales", subject=f"one more {uuid4()}")
            await opened.enter_async_context(listening(crm, [("from", now)], token=other))
            await _is_refused(crm, crm.stack.token("service", subject=f"too many {uuid4()}"), 503)
            assert await _open_streams(crm) == 4
            for _ in range(20):
                (await crm.get("/api/events", limit="1")).expect(200)

        async def all_left() -> bool:
            return await _open_streams(crm) == 0

        await eventually(all_left, "who goes away is counted out", within=10)
        async with listening(crm, [("from", now)], token=mine):
            pass


async def _is_refused(crm: Door, token: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    refusal = await crm.send("GET", STREAM, role=None, headers=headers)
    assert refusal.is_problem(status)
    assert int(refusal.headers["Retry-After"]) > 0


async def test_a_gateway_that_stops_ends_its_streams_and_says_when_to_come_back(crm: Door) -> None:
    lead = {"party": {"email": f"{uuid4().hex}@example.org"}, "source": "streams", "message": "x" * 200}
    (await crm.post("/api/leads", lead, role="sales")).expect(201)
    async with replaced(crm.stack, "gateway", {"CRM_DRAIN_SECONDS": "1"}) as gateway:
        await gateway.start()
        async with listening(crm) as reading, listening(crm, [("from", datetime.now(UTC).isoformat())]) as waiting:
            await reading.next(1)
            ended = [asyncio.create_task(_to_its_end(each)) for each in (reading, waiting)]
            ending = await gateway.terminate(ENDS_WITHIN)
            async with asyncio.timeout(5):
                await asyncio.gather(*ended)
        assert ending.exit_code == 0
        assert ending.seconds < 8
        for each in (reading, waiting):
            assert 500 <= each.retry <= 3_000
    log = crm.stack.folder.log("gateway").read_text()
    assert "without completing response" not in log


async def _to_its_end(stream: Listening) -> None:
    async for _ in stream.events():
        pass


async def test_a_client_that_takes_nothing_does_not_keep_the_gateway_from_stopping(crm: Door) -> None:
    now = datetime.now(UTC).isoformat()
    sent = [
        {
            "external_id": str(n), "occurred_at": now, "channel": "chat", "direction": "inbound",
            "party": {"email": f"stalled-{n % 10}@example.org"}, "body": "x" * 50_000,
        }
        for n in range(200)
    ]  # fmt: skip
    batch = {"source": f"/adapters/stalled-{uuid4().hex}", "interactions": sent}
    (await crm.post("/api/interactions", batch, role="adapter")).expect(202)
    asked = [("type", "crm.contacts.InteractionLogged"), ("from", now)]
    async with replaced(crm.stack, "gateway") as gateway:
        await gateway.start()
        async with listening(crm, asked) as stalled:
            await stalled.next(1)
            await asyncio.sleep(2)  # nobody outside can see that the connection has filled up
            ending = await gateway.terminate(ENDS_WITHIN)
        assert ending.exit_code == 0
