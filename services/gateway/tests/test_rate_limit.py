"""A token subject that asks too often is told so, and when to go on; nobody else notices."""

import re
from typing import Any

import pytest
from fastapi import APIRouter, Depends
from starlette.middleware import Middleware

from crm_gateway.rate_limit import WINDOW_SECONDS, RateLimit
from crm_platform.auth import authenticated

PEOPLE, ADAPTERS = 5, 8
STRUCTURED = re.compile(r'"(?P<name>[a-z]+)";(?P<first>[a-z])=(?P<amount>\d+);(?P<second>[a-z])=(?P<seconds>\d+)')


def parsed(field: str) -> tuple[str, dict[str, int]]:
    """A structured field (RFC 9651) of one string item with two integer parameters."""
    match = STRUCTURED.fullmatch(field)
    assert match, field
    return match["name"], {match["first"]: int(match["amount"]), match["second"]: int(match["seconds"])}


@pytest.fixture
async def door(open_door: Any) -> Any:
    router = APIRouter()

    @router.get("/api/things", dependencies=[Depends(authenticated)])
    async def things() -> str:
        return "some"

    return await open_door(router, middleware=(Middleware(RateLimit, people=PEOPLE, adapters=ADAPTERS),))


async def test_each_answer_says_what_is_left_of_the_quota(door: Any) -> None:
    door.token = door.issue("ben", "sales")

    answers = [await door.ask("GET", "/api/things") for _ in range(PEOPLE)]

    assert [answer.status for answer in answers] == [200] * PEOPLE
    assert parsed(answers[0].headers["RateLimit-Policy"]) == ("people", {"q": PEOPLE, "w": WINDOW_SECONDS})
    left = [parsed(answer.headers["RateLimit"]) for answer in answers]
    assert [parameters["r"] for _, parameters in left] == list(range(PEOPLE - 1, -1, -1))
    assert all(0 < parameters["t"] <= WINDOW_SECONDS for _, parameters in left)


async def test_beyond_the_quota_a_problem_says_when_to_go_on(door: Any) -> None:
    door.token = door.issue("ben", "sales")
    for _ in range(PEOPLE):
        await door.ask("GET", "/api/things")

    answer = await door.ask("GET", "/api/things")

    assert (answer.status, answer.body["status"]) == (429, 429)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["type"] == "urn:crm:problem:too-many-requests"
    assert answer.body["request_id"] == answer.headers["X-Request-ID"]
    assert 1 <= int(answer.headers["Retry-After"]) <= WINDOW_SECONDS
    assert parsed(answer.headers["RateLimit"])[1]["r"] == 0
    assert parsed(answer.headers["RateLimit-Policy"]) == ("people", {"q": PEOPLE, "w": WINDOW_SECONDS})


async def test_a_subject_has_one_quota_whatever_its_token_and_nobody_elses(door: Any) -> None:
    for roles in (("sales",), ("service",)) * 3:
        door.token = door.issue("ben", *roles)
        last = await door.ask("GET", "/api/things")
    assert last.status == 429

    door.token = door.issue("cat", "sales")

    assert (await door.ask("GET", "/api/things")).status == 200


async def test_an_adapter_may_ask_more_often(door: Any) -> None:
    door.token = door.issue("mail-adapter", "adapter")

    statuses = [(await door.ask("GET", "/api/things")).status for _ in range(ADAPTERS + 1)]

    assert statuses == [200] * ADAPTERS + [429]


async def test_who_is_not_known_is_refused_for_that_and_probes_are_not_counted(door: Any) -> None:
    door.token = "forged"
    for _ in range(PEOPLE + 1):
        answer = await door.ask("GET", "/api/things")
        assert answer.status == 401
        assert "RateLimit" not in answer.headers

    door.token = door.issue("ben", "sales")
    for _ in range(PEOPLE + 1):
        answer = await door.ask("GET", "/livez")
        assert (answer.status, "RateLimit" in answer.headers) == (200, False)
