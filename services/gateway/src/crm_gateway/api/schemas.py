"""GET /api/schemas: what stands in the events, for those who read them and for adapters that write them."""

from hashlib import sha256
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from typing_extensions import TypedDict  # pydantic reads no other on Python 3.11

from crm_events.schemas import schema_of, schemas, text_of
from crm_gateway.api.encoding import encoded
from crm_gateway.nearest import nearest
from crm_platform.auth import authenticated
from crm_platform.errors import NotFound
from crm_platform.http.etags import not_modified

PREFIX = "/api/schemas"
MEDIA_TYPE = "application/schema+json"
KEPT = "private, max-age=86400"
"""A released schema changes only as those survive who know the one before (docs/adr/0014), so a day is not too long."""


class ReleasedType(TypedDict):
    """One version of an event. `name` is the `type` of its CloudEvents document, `url` where its schema is."""

    name: str
    event: str
    version: int
    context: str
    url: str


class ReleasedTypes(TypedDict):
    items: list[ReleasedType]


_SCHEMA: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The JSON Schema (2020-12) of the event's `data`.",
        "content": {MEDIA_TYPE: {"schema": {"type": "object"}}},
        "headers": {
            "ETag": {"description": "Names this text of the schema.", "schema": {"type": "string"}},
            "Cache-Control": {"description": "How long it may be kept.", "schema": {"type": "string"}},
        },
    },
    304: {"description": "It is still the one that If-None-Match names."},
}


def schema_routes() -> APIRouter:
    """The released events by type, and the schema of each."""
    router = APIRouter(prefix=PREFIX, tags=["events"], dependencies=[Depends(authenticated)])

    @router.get("", responses={200: {"model": ReleasedTypes}})
    async def released_types() -> Response:
        """Every event in every version that was ever released, also those that adapters and services alone read."""
        return encoded({"items": [_released_type(name) for name in schemas()]})

    @router.get("/{type_name}", response_class=Response, responses=_SCHEMA)
    async def schema(request: Request, type_name: str) -> Response:
        """What stands in the `data` of events of this type as they are published, the personal block sealed.

        `x-opened` beside the block says what it holds. The type is a full name, such as `crm.sales.LeadCaptured.v1`.
        """
        found = schema_of(type_name)
        if found is None:
            raise NotFound(
                f"No event was released under that name. The nearest are {nearest(type_name, schemas())}."
                f" GET {PREFIX} lists them all."
            )
        text = text_of(found).encode()
        tag = f'"{sha256(text).hexdigest()}"'
        kept = {"Cache-Control": KEPT}
        not_modified(request, tag, kept)
        return Response(text, media_type=MEDIA_TYPE, headers={**kept, "ETag": tag})

    return router


def _released_type(name: str) -> ReleasedType:
    _, context, event, version = name.split(".")
    return {
        "name": name,
        "event": event,
        "version": int(version.removeprefix("v")),
        "context": context,
        "url": f"{PREFIX}/{name}",
    }
