"""One OpenAPI document tells everything that can be asked, whichever service answers."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import orjson
from aiohttp import web
from fastapi.openapi.models import OpenAPI
from jsonschema import Draft202012Validator

from crm_events.topics import CONTACTS
from crm_gateway.api.customers import customer_routes
from crm_gateway.api.interactions import interaction_routes
from crm_gateway.api.schemas import schema_routes
from crm_gateway.api.subscriptions import subscription_routes
from crm_gateway.byte_budget import ByteBudget
from crm_gateway.interaction_log import InteractionLog
from crm_gateway.openapi import PlatformDescription, merge, with_request_bodies
from crm_gateway.services import Services
from crm_gateway.sources import Sources
from crm_gateway.subscriptions.event_filter import TOPICS
from crm_gateway.subscriptions.event_log import EventLog
from crm_gateway.subscriptions.open_streams import OpenStreams
from crm_gateway.subscriptions.subscriptions import Subscriptions
from crm_platform.authenticity import Authenticator
from crm_platform.identifiers import BlindIndexer
from crm_platform.sealing import InstallationKey

Document = dict[str, Any]


def document(path: str, answer: str, **schemas: Any) -> Document:
    """A service with one route, whose answer is one of its schemas."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}}
    operation = {"operationId": "read", "responses": {"200": {"description": "Found", "content": content}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "one of many", "version": "1"},
        "paths": {path: {"get": operation}},
        "components": {"schemas": schemas},
    }


OWN = document("/api/customers", "Page", Page={"type": "object", "title": "Page"})
ITEM, OTHER_ITEM = {"type": "string"}, {"type": "integer"}
PAGE_OF_ITEMS = {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}


def answer_of(merged: Document, path: str) -> str:
    schema = merged["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    return str(schema["$ref"]).removeprefix("#/components/schemas/")


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "$ref":
                yield member
            else:
                yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def assert_valid(merged: Document) -> None:
    """OpenAPI 3.1: its structure, every schema by its dialect, every reference, ids unique."""
    assert merged["openapi"].startswith("3.1")
    OpenAPI.model_validate(merged)
    for schema in merged["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in references(merged):
        target = merged
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
    identities = [
        operation["operationId"]
        for operations in merged["paths"].values()
        for operation in operations.values()
        if "operationId" in operation
    ]
    assert len(identities) == len(set(identities))


def test_routes_of_a_service_stand_under_api_and_say_whose_they_are() -> None:
    merged = merge(OWN, {"sales": document("/leads/{id}", "Lead", Lead=ITEM)}, [])

    assert merged["paths"]["/api/leads/{id}"]["get"]["tags"] == ["sales"]
    assert_valid(merged)


def test_only_the_owner_describes_a_resource() -> None:
    merged = merge(OWN, {"service": document("/leads", "Lead", Lead=ITEM)}, [])

    assert list(merged["paths"]) == ["/api/customers"]


def test_parked_events_are_described_once_for_every_service() -> None:
    own = document("/parked/{consumer}", "Events", Events=ITEM)

    merged = merge(own, {"sales": document("/parked/{consumer}", "Events", Events=ITEM)}, [])

    assert list(merged["paths"]) == ["/api/parked/{service}/{consumer}"]
    (named,) = merged["paths"]["/api/parked/{service}/{consumer}"]["parameters"]
    assert {"sales", "gateway"} <= set(named["schema"]["enum"])
    assert_valid(merged)


def test_what_is_the_same_keeps_its_name() -> None:
    sales, service = document("/leads", "Item", Item=ITEM), document("/tickets", "Item", Item=ITEM)

    merged = merge(OWN, {"sales": sales, "service": service}, [])

    assert merged["components"]["schemas"]["Item"] == ITEM
    assert answer_of(merged, "/api/tickets") == "Item"


def test_what_differs_gets_the_name_of_its_service_and_so_does_what_refers_to_it() -> None:
    sales = document("/leads", "List", Item=ITEM, List=PAGE_OF_ITEMS)
    service = document("/tickets", "List", Item=OTHER_ITEM, List=PAGE_OF_ITEMS)

    merged = merge(OWN, {"sales": sales, "service": service}, [])

    assert answer_of(merged, "/api/leads") == "List"
    assert answer_of(merged, "/api/tickets") == "ServiceList"
    schemas = merged["components"]["schemas"]
    assert schemas["ServiceList"]["items"] == {"$ref": "#/components/schemas/ServiceItem"}
    assert (schemas["Item"], schemas["ServiceItem"]) == (ITEM, OTHER_ITEM)
    assert_valid(merged)


def test_merging_leaves_its_sources_as_they_were() -> None:
    own, sales = deepcopy(OWN), document("/leads", "Page", Page=ITEM)

    merge(own, {"sales": sales}, ["service"])

    assert (own, sales) == (OWN, document("/leads", "Page", Page=ITEM))


async def test_a_service_that_is_away_is_named_and_described_as_last_known(services: Any) -> None:
    described = orjson.dumps(document("/leads", "Lead", Lead=ITEM))

    async def describe(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=described, content_type="application/json")

    async with services(describe) as sales, services(describe) as service:
        behind = Services({"sales": sales.url, "service": service.url})
        description = PlatformDescription(behind, kept_seconds=0)
        before = await description.document(own_document)
    after = await description.document(own_document)
    await behind.close()

    assert before["x-unavailable"] == []
    assert after["x-unavailable"] == ["sales", "service"]
    assert "/api/leads" in after["paths"]


def own_document() -> Document:
    return OWN


async def test_the_gateways_own_document_is_valid_and_names_every_schema(open_door: Any) -> None:
    door = await open_door(interaction_routes(InteractionLog("127.0.0.1:1"), ByteBudget(1)))

    own = with_request_bodies(door.app.openapi())

    assert "InteractionBatch" in own["components"]["schemas"]
    assert_valid(own)


async def test_subscriptions_are_described_with_all_that_can_be_asked(open_door: Any) -> None:
    log = EventLog("127.0.0.1:1", TOPICS, Authenticator(InstallationKey(bytes(32))))
    door = await open_door(subscription_routes(Subscriptions(log, bytes(32)), OpenStreams(1, 1)))

    described = door.app.openapi()

    assert_valid(described)
    for path, more in (("/api/events", {"limit"}), ("/api/events/stream", {"Last-Event-ID"})):
        operation = described["paths"][path]["get"]
        asked = {parameter["name"] for parameter in operation["parameters"]}
        assert asked == {"type", "customer", "personal", "after", "from", "position"} | more
        assert {"200", "400", "401", "403", "404", "410", "422", "429", "503"} <= operation["responses"].keys()
    stream = described["paths"]["/api/events/stream"]["get"]["responses"]["200"]["content"]
    assert set(stream) == {"text/event-stream"}


async def test_schemas_are_described_with_their_media_type_and_what_they_are_kept_by(open_door: Any) -> None:
    door = await open_door(schema_routes())

    described = door.app.openapi()

    assert_valid(described)
    listed, one = (described["paths"][path]["get"] for path in ("/api/schemas", "/api/schemas/{type_name}"))
    assert listed["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/ReleasedTypes")
    assert [parameter["name"] for parameter in one["parameters"]] == ["type_name"]
    assert set(one["responses"]["200"]["content"]) == {"application/schema+json"}
    assert set(one["responses"]["200"]["headers"]) == {"ETag", "Cache-Control"}
    assert {"304", "401", "404", "429", "503"} <= one["responses"].keys()
    assert all(operation["security"] == [{"bearer": []}] for operation in (listed, one))


async def test_the_first_page_of_a_timeline_needs_no_cursor(open_door: Any) -> None:
    routes = customer_routes(BlindIndexer(bytes(32), "DE"), Sources("127.0.0.1:1", (CONTACTS,)), bytes(32))
    door = await open_door(routes)

    asked = door.app.openapi()["paths"]["/api/customers/{contact_id}/timeline"]["get"]["parameters"]

    parameters = {parameter["name"]: parameter for parameter in asked}
    assert not parameters["cursor"].get("required", False)
    limit = parameters["limit"]["schema"]
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 200, 50)
