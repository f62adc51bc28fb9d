"""Interactions are read into memory only where there is room for them."""

import asyncio
from typing import Any

import pytest
from libs.platform.tests.waiting import eventually

from crm_gateway.api.interactions import interaction_routes
from crm_gateway.byte_budget import ByteBudget
from crm_gateway.interaction_log import InteractionLog
from crm_platform.errors import Unavailable

MAIL = {
    "external_id": "m-1",
    "occurred_at": "2026-03-01T10:00:00+01:00",
    "channel": "email",
    "direction": "inbound",
    "party": {"email": "ann@example.org"},
    "body": "x" * 1_000,
}
BATCH = {"source": "mail-adapter", "interactions": [MAIL]}


def test_room_is_given_back_also_when_the_work_failed() -> None:
    budget = ByteBudget(100)
    with budget.taking(60):
        with pytest.raises(Unavailable), budget.taking(41):
            pytest.fail("there is no room")
        with budget.taking(40):
            pass
    with pytest.raises(KeyError), budget.taking(100):
        raise KeyError
    with budget.taking(100):
        pass


def test_what_is_larger_than_the_budget_finds_room_alone() -> None:
    budget = ByteBudget(100)
    with budget.taking(1_000), pytest.raises(Unavailable), budget.taking(1):
        pytest.fail("there is no room")
    with budget.taking(1):
        pass


async def test_a_batch_for_which_there_is_no_room_is_refused_unread(open_door: Any) -> None:
    away = InteractionLog("127.0.0.1:1")  # nobody runs it: a batch waits for Kafka, and holds its room
    budget = ByteBudget(2_000)
    door = await open_door(interaction_routes(away, budget))

    first = asyncio.create_task(door.ask("POST", "/api/interactions", json=BATCH))
    await eventually(lambda: budget.taken > 0)
    second = await door.ask("POST", "/api/interactions", json=BATCH)

    assert (second.status, second.body["status"]) == (503, 503)
    assert "Too many bytes" in second.body["detail"]
    assert int(second.headers["Retry-After"]) >= 1
    assert not first.done()
    assert "cannot be stored now" in (await first).body["detail"]


async def test_a_body_that_does_not_say_how_long_it_is_takes_the_most(open_door: Any) -> None:
    away = InteractionLog("127.0.0.1:1")
    budget, tried = ByteBudget(1024 * 1024), asyncio.Event()
    door = await open_door(interaction_routes(away, budget))

    async def in_chunks() -> Any:
        yield b'{"source": "mail-adapter", '
        await tried.wait()
        yield b'"interactions": []}'

    headers = {"Content-Type": "application/json"}
    first = asyncio.create_task(door.ask("POST", "/api/interactions", data=in_chunks(), headers=headers))
    await eventually(lambda: budget.taken > 0)
    second = await door.ask("POST", "/api/interactions", json=BATCH)
    tried.set()

    assert "Too many bytes" in second.body["detail"]
    assert (await first).status == 422
