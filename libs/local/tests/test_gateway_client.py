"""How a command of this machine speaks to the gateway: against a real HTTP server, on which answers are laid out."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from crm_local.credentials import create_credentials
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.gateway import Gateway, GatewayRefusalError
from crm_local.ports import HOST

_KEY = UUID("c8b5f1c4-6d4e-5b6c-9a3f-2f0a7d1e4b90")
Door = Callable[[web.Request], Awaitable[web.Response]]
Open = Callable[[Door], Awaitable[Gateway]]


@pytest.fixture
async def gateway_behind(folder: StateFolder) -> AsyncIterator[Open]:
    """A gateway client whose requests are answered by the given door."""
    create_credentials(folder, ())
    runners = []
    async with aiohttp.ClientSession() as session:

        async def behind(door: Door) -> Gateway:
            application = web.Application()
            application.router.add_route("*", "/{path:.*}", door)
            runner = web.AppRunner(application)
            runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, HOST, 0).start()
            return Gateway(session, f"http://{HOST}:{runner.addresses[0][1]}", folder)

        yield behind
        for runner in runners:
            await runner.cleanup()


@pytest.mark.parametrize("status", [429, 503])
async def test_what_is_to_be_sent_again_later_is_sent_again_with_the_same_key(
    gateway_behind: Open, status: int
) -> None:
    keys = []

    async def door(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            return web.Response(status=status, headers={"Retry-After": "0"})
        return web.json_response({"id": "1"}, headers={"CRM-Position": "crm.sales/0@7 crm.sales/1@9"})

    gateway = await gateway_behind(door)
    answer = await gateway.post("/api/leads", {}, role="sales", key=_KEY)
    assert answer.positions == ("crm.sales/0@7", "crm.sales/1@9")
    assert keys == [str(_KEY)] * 3


async def test_a_read_asks_for_what_was_written_before(gateway_behind: Open) -> None:
    async def door(request: web.Request) -> web.Response:
        return web.json_response({"after": request.headers["CRM-After"]})

    gateway = await gateway_behind(door)
    answer = await gateway.get("/api/leads/1", role="sales", after=("crm.sales/0@7", "crm.sales/1@9"))
    assert answer.body == {"after": "crm.sales/0@7 crm.sales/1@9"}


async def test_a_refusal_is_told_in_the_platforms_words(gateway_behind: Open) -> None:
    async def door(_: web.Request) -> web.Response:
        problem = {"title": "Not allowed now", "detail": "The lead is won.", "status": 409}
        return web.json_response(problem, status=409, content_type="application/problem+json")

    gateway = await gateway_behind(door)
    with pytest.raises(GatewayRefusalError, match=r"refused with 409: Not allowed now: The lead is won\.") as refusal:
        await gateway.post("/api/leads/1/qualify", {}, role="sales", key=_KEY)
    assert refusal.value.status == 409


async def test_a_refusal_names_each_error_and_where_it_is(gateway_behind: Open) -> None:
    async def door(_: web.Request) -> web.Response:
        errors = [
            {"pointer": "/party/email", "message": "Not an address."},
            {"parameter": "handle", "message": "Too short."},
            {"message": "Names nobody."},
        ]
        problem = {"title": "Not valid", "detail": "See errors.", "status": 422, "errors": errors}
        return web.json_response(problem, status=422, content_type="application/problem+json")

    gateway = await gateway_behind(door)
    with pytest.raises(GatewayRefusalError) as refusal:
        await gateway.get("/api/customers", role="service")
    assert str(refusal.value).splitlines() == [
        "GET /api/customers was refused with 422: Not valid: See errors.",
        "  /party/email: Not an address.",
        "  handle: Too short.",
        "  the request: Names nobody.",
    ]


async def test_a_gateway_that_is_not_there_is_named(folder: StateFolder) -> None:
    create_credentials(folder, ())
    async with aiohttp.ClientSession() as session:
        with pytest.raises(LocalStackError, match="'crm status' shows whether the stack runs"):
            await Gateway(session, f"http://{HOST}:1", folder).get("/api/customers", role="service")
