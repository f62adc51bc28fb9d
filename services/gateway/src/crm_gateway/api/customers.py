"""GET /api/customers: the single customer view."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from crm_events.parties import Identifier, IdentifierKind, IdentifierText
from crm_gateway.answers import CustomerView, Timeline
from crm_gateway.projections.customers import Customers
from crm_gateway.queries import contact_with, customer_records, opened_blocks, timeline_records, wait_for_contacts
from crm_gateway.sources import Sources
from crm_gateway.timeline_pages import TimelinePages
from crm_gateway.view import compose, timeline_items
from crm_platform.auth import STAFF
from crm_platform.errors import Refusal
from crm_platform.http.paging import DEFAULT_LIMIT, MAX_LIMIT
from crm_platform.http.reads import AFTER_HEADER, ReadGuard, positions_after
from crm_platform.identifiers import BlindIndexer
from crm_platform.read_model import ReadModel

TIMELINE_SHOWN = 50
"""Items of the timeline in the view itself."""


class CustomersGuard(ReadGuard):
    """The dependency that yields the customers' records to staff, once they show what CRM-After names."""

    def __init__(self) -> None:
        super().__init__(Customers, STAFF)

    async def __call__(self, request: Request) -> ReadModel:
        customers = await super().__call__(request)
        if positions := positions_after(request):
            await wait_for_contacts(customers, positions)
        return customers


CustomersRead = Annotated[ReadModel, Depends(CustomersGuard())]
Looked = Annotated[IdentifierText | None, Query(max_length=320)]


class OneIdentifierNeeded(Refusal):
    code, title = "one-identifier-needed", "Say by what the customer is looked up"


def the_one_identifier(
    email: Looked = None, phone: Looked = None, handle: Looked = None, cookie: Looked = None
) -> Identifier:
    """What the customer is looked up by. Raises OneIdentifierNeeded unless there is exactly one."""
    looked_up = {"email": email, "phone": phone, "handle": handle, "cookie": cookie}
    given = [Identifier(kind=IdentifierKind(kind), value=value) for kind, value in looked_up.items() if value]
    if len(given) != 1:
        raise OneIdentifierNeeded("Give exactly one of the parameters email, phone, handle, cookie.")
    return given[0]


def customer_routes(indexer: BlindIndexer, sources: Sources, cursor_key: bytes) -> APIRouter:
    """The single customer view: by id, by identifier, and its timeline in pages."""
    router = APIRouter(prefix="/api/customers", tags=["customers"])

    async def view(customers: ReadModel, contact_id: str, request: Request) -> Response:
        # What a client waited for must show in the positions, so they are then read anew.
        freshness = await sources.freshness(customers, anew=AFTER_HEADER in request.headers)
        records = await customer_records(customers, contact_id, TIMELINE_SHOWN)
        opened = await opened_blocks(customers, records)
        items = timeline_items(records.timeline, records.replies, opened)
        timeline = TimelinePages(cursor_key, contact_id).page(items, TIMELINE_SHOWN)
        return _json(compose(records, opened, timeline, freshness))

    @router.get("", responses={200: {"model": CustomerView}})
    async def customer_with_identifier(
        customers: CustomersRead, identifier: Annotated[Identifier, Depends(the_one_identifier)], request: Request
    ) -> Response:
        """The single customer view of whoever has this identifier: give exactly one."""
        return await view(customers, await contact_with(customers, identifier, indexer), request)

    @router.get("/{contact_id}", responses={200: {"model": CustomerView}})
    async def customer(customers: CustomersRead, contact_id: UUID, request: Request) -> Response:
        """The single customer view."""
        return await view(customers, str(contact_id), request)

    @router.get("/{contact_id}/timeline", responses={200: {"model": Timeline}})
    async def timeline(
        customers: CustomersRead,
        contact_id: UUID,
        cursor: Annotated[
            str | None,
            Query(max_length=512, description="`timeline.next` of the view, or `next`; without it, the first page."),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items a page.")] = DEFAULT_LIMIT,
    ) -> Response:
        """The timeline, newest first: its first page, or the one that a cursor names."""
        pages = TimelinePages(cursor_key, str(contact_id))
        after = pages.position(cursor) if cursor else None
        records = await timeline_records(customers, str(contact_id), after, limit)
        items = timeline_items(records.timeline, records.replies, await opened_blocks(customers, records))
        return _json(pages.page(items, limit))

    return router


def _json(answer: Any) -> Response:
    return Response(orjson.dumps(answer, option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z), media_type="application/json")
