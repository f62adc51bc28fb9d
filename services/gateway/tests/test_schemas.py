"""Whoever has a token is given the JSON Schema of any event that was ever released."""

import json
from typing import Any

import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator

from crm_events import EVENTS
from crm_events.release import FOLDER
from crm_events.sales import LeadCaptured
from crm_events.schemas import schemas
from crm_gateway.api.schemas import schema_routes

LEAD = f"/api/schemas/{LeadCaptured.type_name()}"


@pytest_asyncio.fixture
async def door(open_door: Any) -> Any:
    return await open_door(schema_routes())


async def test_every_released_type_is_listed_with_what_its_name_says(door: Any) -> None:
    answer = await door.ask("GET", "/api/schemas")

    assert answer.status == 200
    listed = {item["name"]: item for item in answer.body["items"]}
    assert list(listed) == schemas()
    for event in EVENTS:
        assert listed[event.type_name()] == {
            "name": event.type_name(),
            "event": event.__name__,
            "version": event.version,
            "context": event.context,
            "url": f"/api/schemas/{event.type_name()}",
        }


async def test_each_url_gives_the_schema_as_it_was_released(door: Any) -> None:
    for item in (await door.ask("GET", "/api/schemas")).body["items"]:
        answer = await door.ask("GET", item["url"])

        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/schema+json")
        assert answer.body["title"] == item["name"]
        Draft202012Validator.check_schema(answer.body)
        assert answer.body == json.loads((FOLDER / f"{item['name']}.json").read_text(encoding="utf-8"))


async def test_a_schema_may_be_kept_for_a_day_and_is_then_asked_for_by_its_tag(door: Any) -> None:
    given = await door.ask("GET", LEAD)
    tag = given.headers["ETag"]

    same = await door.ask("GET", LEAD, headers={"If-None-Match": tag})
    another = await door.ask("GET", LEAD.replace("Captured", "Linked"), headers={"If-None-Match": tag})

    assert given.headers["Cache-Control"] == same.headers["Cache-Control"] == "private, max-age=86400"
    assert (same.status, same.headers["ETag"], same.body) == (304, tag, b"")
    assert another.status == 200
    assert another.headers["ETag"] != tag


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("crm.sales.LeadCatpured.v1", "crm.sales.LeadCaptured.v1"),
        ("crm.sales.LeadCaptured", "crm.sales.LeadCaptured.v1"),
        ("crm.sales.LeadCaptured.v9", "crm.sales.LeadCaptured.v1"),
        ("crm.interactions.InteractionReceived.v1", "crm.interactions.InteractionRecorded.v1"),
        ("%2e%2e", "crm."),
        ("crm" * 1000, "crm."),
    ],
)
async def test_a_type_that_was_never_released_is_not_found_and_the_nearest_are_named(
    door: Any, wanted: str, nearest: str
) -> None:
    answer = await door.ask("GET", f"/api/schemas/{wanted}")

    assert (answer.status, answer.body["status"]) == (404, 404)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert f"The nearest are {nearest}" in answer.body["detail"]
    assert len(answer.body["detail"]) < 300


async def test_any_valid_token_may_read_and_no_other(door: Any) -> None:
    for roles in ((), ("adapter",), ("privacy",), ("analyst",)):
        door.token = door.issue("ann", *roles)
        for path in ("/api/schemas", LEAD):
            assert (await door.ask("GET", path)).status == 200, (roles, path)
    door.token = "forged"
    for path in ("/api/schemas", LEAD):
        answer = await door.ask("GET", path)
        assert (answer.status, answer.body["status"]) == (401, 401)
