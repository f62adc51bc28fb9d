"""Every refusal is problem+json, says its status, and repeats nothing that was sent."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from crm_platform.errors import Refusal
from crm_platform.health import Condition

LEAD = "/register/0b5c1c0e-6f0c-4c8e-9d0c-2f4a6a1f0a11"


async def refused(site: Any, status: int, method: str, path: str, **options: Any) -> dict[str, Any]:
    answer, problem = await site.ask(method, path, **options)
    assert answer.status == status, problem
    assert answer.content_type == "application/problem+json"
    assert set(problem) >= {"type", "title", "status", "detail", "instance", "request_id"}
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["type"].startswith("urn:crm:problem:")
    return dict(problem)


@pytest.mark.parametrize(
    "refusal",
    [r for r in Refusal.__subclasses__() if r.__module__ == Refusal.__module__],
    ids=lambda refusal: str(refusal.code),
)
async def test_each_kind_of_refusal_is_answered_with_its_status(site: Any, refusal: type[Refusal]) -> None:
    problem = await refused(site, refusal.status, "GET", f"/refuse/{refusal.code}")
    assert problem["type"] == f"urn:crm:problem:{refusal.code}"
    assert problem["title"] == refusal.title
    assert problem["detail"] == "It is so."


async def test_an_unavailable_platform_says_when_to_ask_again(site: Any) -> None:
    answer, _ = await site.ask("GET", "/away")
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "7"


async def test_an_unknown_route_and_a_wrong_method_are_told_apart(site: Any) -> None:
    await refused(site, 404, "GET", "/no/such/route")
    await refused(site, 404, "GET", "/numbers/")
    await refused(site, 405, "DELETE", "/numbers")
    answer, _ = await site.ask("DELETE", "/numbers")
    assert answer.headers["Allow"] == "GET"


@pytest.mark.parametrize(
    "body",
    [b'{"email": ', b"{'email': 1}", b'{"email": "\xff\xfe"}', b"[" * 4000, b'{"score": ' + b"9" * 5000 + b"}"],
    ids=["cut off", "no JSON", "no UTF-8", "too deep", "number without end"],
)
async def test_a_body_that_cannot_be_read_is_malformed(site: Any, body: bytes) -> None:
    await refused(site, 400, "POST", LEAD, data=body, headers={"Content-Type": "application/json"})


async def test_wrong_and_unknown_members_are_named_and_not_repeated(site: Any) -> None:
    body = {"email": "anna@example", "score": "berta", "nick/name": "carla"}
    problem = await refused(site, 422, "POST", LEAD, json=body)
    assert {error["pointer"] for error in problem["errors"]} == {"/email", "/score", "/nick~1name"}
    assert all(error["message"] for error in problem["errors"])
    assert not re.search("anna|example|berta|carla", json.dumps(problem))


async def test_a_body_that_is_not_an_object_is_refused(site: Any) -> None:
    bodies: tuple[object, ...] = ([], "text", 5, None)
    for body in bodies:
        await refused(site, 422, "POST", LEAD, json=body)
    await refused(site, 422, "POST", LEAD, headers={"Content-Type": "application/json"})


async def test_half_a_surrogate_is_refused_as_a_value_and_as_a_name(site: Any) -> None:
    for body in (b'{"email": "\\ud800"}', b'{"email": "a@b.cd", "\\ud800": 1}'):
        await refused(site, 422, "POST", LEAD, data=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("media", ["text/plain", "application/xml", "multipart/form-data", "nonsense"])
async def test_a_body_that_is_not_json_is_an_unsupported_media_type(site: Any, media: str) -> None:
    await refused(site, 415, "POST", LEAD, data=b'{"email": "a@b.cd"}', headers={"Content-Type": media})


async def test_a_parameter_out_of_its_bounds_is_named(site: Any) -> None:
    problem = await refused(site, 422, "GET", "/numbers?limit=201")
    assert [error["parameter"] for error in problem["errors"]] == ["limit"]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
async def test_a_moment_beyond_the_calendar_is_refused_with_the_reason(site: Any, moment: str) -> None:
    asked = await refused(site, 422, "GET", "/as-of", params={"at": moment})
    told = await refused(site, 422, "POST", LEAD, json={"email": "a@b.cd", "occurred_at": moment})
    for problem in (asked, told):
        (error,) = problem["errors"]
        assert error["message"] == "outside the years 1 to 9999 in UTC"


async def test_a_control_character_is_refused_in_words(site: Any) -> None:
    problem = await refused(
        site, 422, "POST", LEAD, json={"email": "a@b.cd", "name": "Ann\nBcc: all", "note": "\x1b[2J"}
    )
    messages = {error["pointer"]: error["message"] for error in problem["errors"]}
    assert messages == {
        "/name": "Input should be one line of text, without control characters",
        "/note": "Input should be text without control characters other than tabs and line ends",
    }


async def test_an_id_that_is_none_is_not_found(site: Any) -> None:
    problem = await refused(site, 404, "POST", "/register/anna", json={"email": "a@b.cd"})
    assert "anna" not in json.dumps(problem)


async def pieces(size: int) -> AsyncIterator[bytes]:
    yield b'{"email": "'
    for _ in range(size // 1024):
        yield b"a" * 1024
    yield b'"}'


async def test_a_long_body_is_refused_whether_its_length_is_declared_or_not(site: Any) -> None:
    as_json = {"Content-Type": "application/json"}
    declared = await refused(site, 413, "POST", LEAD, json={"email": "a" * 9000})
    in_pieces = await refused(site, 413, "POST", LEAD, data=pieces(9 * 1024), headers=as_json)
    for problem in (declared, in_pieces):
        assert problem["type"] == "urn:crm:problem:too-large"
        assert problem["detail"].startswith("The body may be at most 8192 bytes")
    await refused(site, 422, "POST", LEAD, data=pieces(7 * 1024), headers=as_json)


async def test_a_route_may_accept_longer_bodies(site: Any) -> None:
    answer, size = await site.ask("POST", "/batch", json={"a": "x" * 60_000})
    assert (answer.status, size) == (200, 60_000)
    problem = await refused(site, 413, "POST", "/batch", json={"a": "x" * 66_000})
    assert "65536 bytes" in problem["detail"]


async def test_a_failure_of_ours_tells_nothing_about_itself(site: Any) -> None:
    problem = await refused(site, 500, "GET", "/fail")
    assert not re.search("RuntimeError|secret|anna", json.dumps(problem))


async def test_a_sane_request_id_is_kept_and_another_one_replaced(site: Any) -> None:
    for given, kept in (("story-7.a:1", True), ("anna@example.com", False), ("x" * 65, False), ("", False)):
        answer, _ = await site.ask("GET", "/numbers", headers={"X-Request-ID": given})
        assert (answer.headers["X-Request-ID"] == given) is kept
        assert answer.headers["X-Request-ID"]


async def test_an_answer_is_not_sniffed_and_not_kept_by_shared_caches(site: Any) -> None:
    answer, _ = await site.ask("GET", "/numbers")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("held", ['"3"', 'W/"3"', '"1", "3"', "*"])
async def test_a_version_that_the_client_holds_is_not_sent_again(site: Any, held: str) -> None:
    answer, body = await site.ask("GET", "/versioned", headers={"If-None-Match": held})
    assert (answer.status, body, answer.headers["ETag"]) == (304, b"", '"3"')


async def test_another_version_is_sent(site: Any) -> None:
    answer, body = await site.ask("GET", "/versioned", headers={"If-None-Match": '"2"'})
    assert (answer.status, body, answer.headers["ETag"]) == (200, "third", '"3"')


async def test_readiness_names_what_is_missing_and_liveness_does_not_mind(site: Any) -> None:
    late = Condition("late")
    site.health.add(late)
    for probe in ("/readyz", "/startupz"):
        assert (await refused(site, 503, "GET", probe))["parts"] == ["late"]
    assert (await site.ask("GET", "/livez"))[0].status == 200
    late.ready = True
    for probe in ("/readyz", "/startupz"):
        assert (await site.ask("GET", probe))[0].status == 200


async def test_what_was_ready_once_is_ready_while_what_it_needs_is_away(site: Any) -> None:
    assert (await site.ask("GET", "/readyz"))[0].status == 200
    site.database.ready = False
    try:
        assert (await site.ask("GET", "/readyz"))[0].status == 200
    finally:
        site.database.ready = True


async def test_a_part_without_progress_fails_liveness(site: Any) -> None:
    site.database.alive = False
    try:
        assert (await refused(site, 503, "GET", "/livez"))["parts"] == ["database"]
    finally:
        site.database.alive = True


async def test_metrics_speak_of_templates_never_of_paths(site: Any) -> None:
    await site.ask("POST", LEAD, json={"email": "a@b.cd"})
    await site.ask("GET", "/no/such/anna")
    _, text = await site.ask("GET", "/metrics")
    lines = text.decode()
    assert 'crm_http_requests_total{method="POST",route="/register/{id}",status="200"}' in lines
    assert 'route="unmatched",status="404"' in lines
    assert 'route="/metrics"' in (await site.ask("GET", "/metrics"))[1].decode()
    assert "anna" not in lines
    assert LEAD not in lines


async def test_the_document_tells_of_problems_and_rights(site: Any) -> None:
    _, document = await site.ask("GET", "/openapi.json")
    assert document["openapi"].startswith("3.1")
    operation = document["paths"]["/register/{id}"]["post"]
    assert set(operation["responses"]) == {"200", "400", "404", "408", "413", "415", "422", "500"}
    assert operation["responses"]["422"] == {"$ref": "#/components/responses/Problem"}
    assert document["paths"]["/whoami"]["get"]["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert not {"HTTPValidationError", "ValidationError"} & set(document["components"]["schemas"])
    assert not {"/livez", "/readyz", "/startupz", "/metrics"} & set(document["paths"])


@pytest.mark.parametrize(("method", "body"), [("POST", {"email": "anna@example.com"}), ("GET", None)])
async def test_before_the_process_is_connected_the_answer_is_later_and_no_failure(
    site: Any, issuer: Any, method: str, body: object
) -> None:
    bearer = {"Authorization": f"Bearer {issuer.token()}"}
    problem = await refused(site, 503, method, "/things", json=body, headers=bearer)
    assert "starting" in problem["detail"]


@pytest.mark.parametrize("away", ["mongodb", "postgresql"])
async def test_a_database_that_does_not_answer_is_no_fault_of_ours(site: Any, away: str) -> None:
    async with site.client.get(f"{site.url}/silent/{away}") as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["type"]) == (503, "urn:crm:problem:unavailable")
        assert answer.content_type == "application/problem+json"
        assert int(answer.headers["Retry-After"]) >= 1
