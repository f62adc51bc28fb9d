"""What belongs to a service is handed on to it, and comes back as the service answered."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from crm_gateway.api.proxy import proxy_routes
from crm_gateway.services import OWNERS, Services
from crm_platform import otlp, tracing

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@pytest.fixture
def traced() -> Iterator[InMemorySpanExporter]:
    """The gateway traces; its spans stay here."""
    exporter = InMemorySpanExporter()
    sender = otlp.through(SimpleSpanProcessor(exporter), 1.0, "gateway", "test", "0")
    tracing.trace_with(sender.tracer, sender.stop)
    yield exporter
    tracing.stop_tracing()


async def created(_: web.BaseRequest) -> web.StreamResponse:
    return web.json_response(
        {"id": "1"},
        status=201,
        headers={
            "ETag": '"1"',
            "CRM-Position": "crm.sales/2@7",
            "Location": "/leads/1",
            "Link": '<?cursor=abc>; rel="next"',
            "Server": "of no concern",
        },
    )


async def stale(_: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"status": 412}, status=412, content_type="application/problem+json")


@pytest_asyncio.fixture
async def gateway(open_door: Any, services: Any) -> AsyncIterator[Callable[[Answer], Awaitable[tuple[Any, Any]]]]:
    """A gateway before one small service that stands for them all."""
    running: list[Any] = []

    async def before(answer: Answer, *, within_seconds: float = 10.0) -> tuple[Any, Any]:
        context = services(answer)
        service = await context.__aenter__()
        behind = Services(dict.fromkeys(set(OWNERS.values()), service.url), within_seconds)
        running.extend((context, behind))
        return await open_door(proxy_routes(behind)), service

    yield before
    for each in reversed(running):
        await (each.close() if isinstance(each, Services) else each.__aexit__(None, None, None))


async def test_a_request_reaches_the_owner_as_it_was_sent(gateway: Any) -> None:
    door, service = await gateway(created)

    await door.ask(
        "POST",
        "/api/leads/a%20b/qualify?limit=2&stage=n%C3%A9w",
        json={"score": 80},
        headers={"Idempotency-Key": "k1", "If-Match": '"3"', "CRM-After": "crm.sales/2@7", "X-Request-ID": "story-1"}
        | {"Cookie": "theirs=1", "X-Forwarded-For": "10.0.0.1"},
    )

    ((method, target, headers, body),) = service.requests
    assert (method, target, body) == ("POST", "/leads/a%20b/qualify?limit=2&stage=n%C3%A9w", b'{"score": 80}')
    assert headers["authorization"] == f"Bearer {door.token}"
    assert (headers["idempotency-key"], headers["if-match"], headers["crm-after"]) == ("k1", '"3"', "crm.sales/2@7")
    assert headers["x-request-id"] == "story-1"
    assert not {"cookie", "x-forwarded-for"} & headers.keys()


async def test_the_answer_comes_back_with_its_paths_under_api(gateway: Any) -> None:
    door, _ = await gateway(created)

    answer = await door.ask("POST", "/api/leads", json={})

    assert (answer.status, answer.body) == (201, {"id": "1"})
    assert (answer.headers["ETag"], answer.headers["CRM-Position"]) == ('"1"', "crm.sales/2@7")
    assert answer.headers["Location"] == "/api/leads/1"
    assert answer.headers["Link"] == '<?cursor=abc>; rel="next"'
    assert "of no concern" not in answer.headers.getall("Server", [])


async def test_a_refusal_of_the_service_is_passed_on_as_it_is(gateway: Any) -> None:
    door, _ = await gateway(stale)

    answer = await door.ask("PATCH", "/api/contacts/1", json={})

    assert (answer.status, answer.body) == (412, {"status": 412})
    assert answer.headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize(
    "path", ["/api/nothing", "/api/metrics", "/api/leads/%2e%2e/metrics", "/api/leads/..%2fmetrics"]
)
async def test_what_no_service_owns_is_not_found_and_nobody_is_asked(gateway: Any, path: str) -> None:
    door, service = await gateway(created)

    answer = await door.ask("GET", path)

    assert (answer.status, answer.body["status"]) == (404, 404)
    assert service.requests == []


async def test_without_a_valid_token_nobody_is_asked(gateway: Any) -> None:
    door, service = await gateway(created)
    door.token = "forged"

    answer = await door.ask("GET", "/api/leads")

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert service.requests == []


async def test_a_service_that_is_away_is_a_503_that_says_when_to_try_again(open_door: Any, services: Any) -> None:
    async with services(created) as gone:
        urls = dict.fromkeys(set(OWNERS.values()), gone.url)
    door = await open_door(proxy_routes(Services(urls)))

    answer = await door.ask("GET", "/api/tickets")

    assert answer.status == 503
    assert answer.body["detail"] == "The service service does not answer now; try again."
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_service_that_is_too_slow_is_a_503(gateway: Any) -> None:
    released = asyncio.Event()

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    door, _ = await gateway(slow, within_seconds=0.2)

    answer = await door.ask("GET", "/api/kpis")
    released.set()

    assert answer.status == 503


CALLERS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_gateway_that_does_not_trace_hands_the_callers_trace_on(gateway: Any) -> None:
    door, service = await gateway(created)

    await door.ask("POST", "/api/leads", json={}, headers={"traceparent": CALLERS})

    assert service.requests[0][2]["traceparent"] == CALLERS


async def test_a_gateway_that_traces_stands_between_the_caller_and_the_service(traced: Any, gateway: Any) -> None:
    door, service = await gateway(created)

    await door.ask("POST", "/api/leads", json={}, headers={"traceparent": CALLERS})

    call, request = traced.get_finished_spans()
    assert (request.name, call.name) == ("POST /api/leads", "POST sales")
    assert (request.parent.span_id, call.parent.span_id) == (0xB7AD6B7169203331, request.context.span_id)
    handed_on = service.requests[0][2]["traceparent"]
    assert handed_on == f"{CALLERS[:36]}{call.context.span_id:016x}-01"
