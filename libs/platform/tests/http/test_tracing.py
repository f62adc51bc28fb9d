"""A request's span: it goes on in the caller's trace, and says nothing that the log would not."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from libs.platform.tests.http.conftest import router
from libs.platform.tests.served import served
from libs.platform.tests.spans import Spans, own_id, parent_id, trace_of, traced
from opentelemetry.trace import SpanKind, TraceFlags

from crm_platform import tracing
from crm_platform.health import Health
from crm_platform.http.app import ServiceApp, create_app
from crm_platform.http.tracing import TracedRequests
from crm_platform.settings import InvalidSettings, ServiceSettings

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = f"00-{TRACE}-{CALLER}-01"
PERSON = "5f0c2a8e-0000-4000-8000-0000000000aa"
pytestmark = pytest.mark.usefixtures("environment")


def _app() -> ServiceApp:
    return create_app("test", ServiceSettings(), (router,), Health())


@pytest.fixture
def spans() -> Any:
    with traced() as spans:
        yield spans


@pytest_asyncio.fixture
async def url(spans: Spans) -> AsyncIterator[str]:  # noqa: ARG001 - the application is built while tracing is on
    async with served(_app()) as url:
        yield url


async def _ask(url: str, path: str, method: str = "GET", **options: Any) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as client, client.request(method, url + path, **options) as answer:
        return answer.status, json.loads(await answer.read()) if "json" in answer.content_type else {}


async def test_a_request_goes_on_in_its_callers_trace_and_is_named_by_its_route(url: str, spans: Spans) -> None:
    body = {"email": "anna@example.com"}
    await _ask(url, f"/register/{PERSON}?q=anna", method="POST", json=body, headers={"traceparent": CONTEXT})
    span = spans.one("POST /register/{id}")
    assert (span.kind, trace_of(span), parent_id(span)) == (SpanKind.SERVER, TRACE, CALLER)
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/register/{id}",
        "http.response.status_code": 200,
    }
    assert not re.search(f"anna|{PERSON}", span.to_json())


@pytest.mark.parametrize("given", [None, "nonsense", f"00-{'0' * 32}-{CALLER}-01", f"ff-{TRACE}-{CALLER}-01"])
async def test_without_a_well_formed_context_a_trace_begins_here(url: str, spans: Spans, given: str | None) -> None:
    await _ask(url, "/numbers", headers={"traceparent": given} if given else {})
    span = spans.one("GET /numbers")
    assert span.parent is None
    assert trace_of(span) != TRACE


async def test_a_refusal_names_its_trace_and_is_no_fault_of_ours(url: str, spans: Spans) -> None:
    status, problem = await _ask(url, "/refuse/not-found", headers={"traceparent": CONTEXT})
    span = spans.one("GET /refuse/{code}")
    assert (status, problem["trace_id"], span.status.is_unset) == (404, TRACE, True)


async def test_a_failure_is_marked_and_keeps_its_message_to_itself(url: str, spans: Spans) -> None:
    status, problem = await _ask(url, "/fail")
    span = spans.one("GET /fail")
    assert (status, problem["trace_id"], span.status.is_ok) == (500, trace_of(span), False)
    assert "anna" not in span.to_json()


async def test_paths_of_nobody_and_probes_make_no_names(url: str, spans: Spans) -> None:
    for path in ("/livez", "/readyz", "/metrics", f"/nothing/{PERSON}"):
        await _ask(url, path)
    (span,) = spans.all()
    assert span.name == "GET"
    assert "http.route" not in (span.attributes or {})


async def test_a_request_to_another_service_takes_the_trace_along(spans: Spans) -> None:
    with tracing.serving("GET", CONTEXT), tracing.calling("sales", "POST") as headers:
        pass
    call = spans.one("POST sales")
    assert headers == {"traceparent": f"00-{TRACE}-{own_id(call)}-01"}
    assert (call.kind, parent_id(call)) == (SpanKind.CLIENT, own_id(spans.one("GET")))


async def test_a_trace_that_is_not_kept_is_told_to_services_and_to_no_event() -> None:
    with traced(ratio=0.0) as spans:
        with tracing.serving("GET", None), tracing.calling("sales", "GET") as headers:
            assert tracing.current_traceparent() is None
            with tracing.command("make_purchase") as command:
                assert command is None
        assert not int(headers["traceparent"][-2:], 16) & TraceFlags.SAMPLED
        assert not spans.all()


async def test_a_caller_who_keeps_its_trace_has_it_kept_here() -> None:
    with traced(ratio=0.0) as spans:
        with tracing.serving("GET", CONTEXT):
            assert tracing.current_traceparent() == f"00-{TRACE}-{tracing.current_ids()['span_id']}-01"
        assert trace_of(spans.one("GET")) == TRACE


async def test_off_nothing_stands_on_a_requests_path_and_no_answer_names_a_trace() -> None:
    app = _app()
    assert TracedRequests.__name__ not in str(app.user_middleware)
    async with served(app) as url:
        _, problem = await _ask(url, "/refuse/not-found", headers={"traceparent": CONTEXT})
    assert "trace_id" not in problem
    assert (tracing.current_traceparent(), dict(tracing.current_ids())) == (None, {})


@pytest.mark.parametrize("given", ["collector:4318", "grpc://collector:4317", "http://"])
def test_a_receiver_that_is_no_http_url_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("CRM_OTLP_ENDPOINT", given)
    with pytest.raises(InvalidSettings, match="CRM_OTLP_ENDPOINT"):
        ServiceSettings()
