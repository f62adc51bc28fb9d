"""What is parked at any service is asked for at the gateway, by administrators only."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest_asyncio
from aiohttp import web
from fastapi import APIRouter, Body, Depends

from crm_gateway.api.parked import parked_routes
from crm_gateway.services import Services
from crm_platform.auth import Role, require
from crm_platform.errors import NotFound


async def parking_service(request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"path": request.raw_path, "body": (await request.read()).decode()})


def own_parking() -> APIRouter:
    """Stands where the platform's own routes do in every service."""
    router = APIRouter(prefix="/parked", dependencies=[Depends(require(Role.ADMIN))])

    @router.get("")
    async def listed() -> dict[str, list[str]]:
        return {"items": []}

    @router.post("/{consumer}/{topic}/{key:path}/discard")
    async def discarded(consumer: str, topic: str, key: str, reason: Annotated[str, Body(embed=True)]) -> list[str]:
        if consumer != "gateway.customers.v1":
            raise NotFound(f"There is no consumer {consumer}.")
        return [consumer, topic, key, reason]

    return router


@pytest_asyncio.fixture
async def door(open_door: Any, services: Any) -> AsyncIterator[tuple[Any, Any]]:
    async with services(parking_service) as sales:
        behind = Services({"sales": sales.url})
        opened = await open_door(own_parking(), parked_routes(behind))
        opened.token = opened.issue("root", "admin")
        yield opened, sales
        await behind.close()


async def test_a_request_reaches_the_service_with_its_key_as_it_was_sent(door: Any) -> None:
    opened, _ = door

    listed = await opened.ask("GET", "/api/parked/sales")
    shown = await opened.ask("GET", "/api/parked/sales/sales.link-leads/crm.interactions/mail%2Fm%20%C3%BC-1")
    discarded = await opened.ask(
        "POST", "/api/parked/sales/sales.link-leads/crm.contacts/k/discard", json={"reason": "because"}
    )

    assert listed.body == {"path": "/parked", "body": ""}
    assert shown.body["path"] == "/parked/sales.link-leads/crm.interactions/mail%2Fm%20%C3%BC-1"
    assert discarded.body["path"] == "/parked/sales.link-leads/crm.contacts/k/discard"
    assert json.loads(discarded.body["body"]) == {"reason": "because"}


async def test_the_gateway_answers_for_itself(door: Any) -> None:
    opened, sales = door

    listed = await opened.ask("GET", "/api/parked/gateway")
    discarded = await opened.ask(
        "POST", "/api/parked/gateway/gateway.customers.v1/crm.sales/a%2Fb/discard", json={"reason": "because"}
    )
    unknown = await opened.ask("POST", "/api/parked/gateway/nobody/crm.sales/k/discard", json={"reason": "because"})

    assert (listed.status, listed.body) == (200, {"items": []})
    assert discarded.body == ["gateway.customers.v1", "crm.sales", "a/b", "because"]
    assert (unknown.status, unknown.body["detail"]) == (404, "There is no consumer nobody.")
    assert unknown.headers["Content-Type"].startswith("application/problem+json")
    assert sales.requests == []


async def test_only_an_administrator_is_served(door: Any) -> None:
    opened, sales = door
    for roles in ((), ("sales", "analyst", "adapter")):
        opened.token = opened.issue("ann", *roles)
        for service in ("sales", "gateway"):
            answer = await opened.ask("GET", f"/api/parked/{service}")
            assert (answer.status, answer.body["status"]) == (403, 403)
    assert sales.requests == []


async def test_what_does_not_exist_is_not_found(door: Any) -> None:
    opened, sales = door

    unknown = await opened.ask("GET", "/api/parked/billing")
    upwards = await opened.ask("GET", "/api/parked/sales/%2e%2e/leads")

    assert unknown.status == 404
    assert unknown.body["detail"] == "There is no service billing: there are sales, gateway."
    assert upwards.status == 404
    assert sales.requests == []
