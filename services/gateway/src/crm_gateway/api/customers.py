"""GET /api/customers: the single customer view."""

from datetime import datetime
from typing import Annotated, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from crm_events.event import Instant
from crm_events.parties import Identifier, IdentifierKind, IdentifierText
from crm_gateway.answers import CustomerView, History, Timeline
from crm_gateway.api.encoding import encoded
from crm_gateway.projections.customers import Customers
from crm_gateway.queries.customer import customer_records, timeline_records
from crm_gateway.queries.history import history_items, position_of
from crm_gateway.queries.lookup import contact_with, contacts_waited_for
from crm_gateway.queries.past import past_records
from crm_gateway.queries.personal import opened
from crm_gateway.queries.selection import LiveRecords, Records
from crm_gateway.sources import Sources
from crm_gateway.timeline_pages import TimelinePages
from crm_gateway.view import compose, timeline_items
from crm_platform.auth import STAFF, Role
from crm_platform.errors import Refusal
from crm_platform.http.paging import DEFAULT_LIMIT, MAX_LIMIT, CursorSigner
from crm_platform.http.reads import AFTER_HEADER, ReadGuard, positions_after
from crm_platform.identifiers import BlindIndexer
from crm_platform.past import Axis
from crm_platform.read_model import ReadModel

VIEWERS = (*STAFF, Role.PRIVACY)
"""Who may take out all that is held about a person looks up first whom that person's address means."""
TIMELINE_SHOWN = 50
"""Items of the timeline in the view itself."""


class CustomersGuard(ReadGuard):
    """The dependency that yields the customers' records to their viewers, once they show what CRM-After names."""

    def __init__(self) -> None:
        super().__init__(Customers, VIEWERS)

    async def __call__(self, request: Request) -> ReadModel:
        customers = await super().__call__(request)
        if positions := positions_after(request):
            return await self._live(request).after(await contacts_waited_for(customers, positions))
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


class Moment(NamedTuple):
    """The past moment that is asked for, and by which time it is told."""

    at: datetime
    axis: Axis


class MomentNeeded(Refusal):
    code, title = "moment-needed", "Say which moment is meant"


def the_moment(
    at: Annotated[
        Instant | None, Query(description="Answer as of this past moment, such as 2026-03-02T09:30:00Z.")
    ] = None,
    axis: Annotated[
        Axis | None,
        Query(description="The past by when facts were `recorded` (what was known then), or by when they `occurred`."),
    ] = None,
) -> Moment | None:
    """The moment in the query; None asks for the present. Raises MomentNeeded for an axis alone."""
    if at is None:
        if axis is not None:
            raise MomentNeeded("The parameter `axis` needs `at`, the moment that is asked for.")
        return None
    return Moment(at, axis or Axis.RECORDED)


AtMoment = Annotated[Moment | None, Depends(the_moment)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items a page.")]


async def records_at(customers: ReadModel, contact_id: str, moment: Moment | None) -> Records:
    """Where the records are taken from: the live ones, or those of a past moment."""
    return LiveRecords(customers) if moment is None else await past_records(customers, contact_id, *moment)


def customer_routes(indexer: BlindIndexer, sources: Sources, cursor_key: bytes) -> APIRouter:
    """The single customer view: by id, by identifier, and its timeline in pages."""
    router = APIRouter(prefix="/api/customers", tags=["customers"])

    async def view(customers: ReadModel, contact_id: str, moment: Moment | None, request: Request) -> Response:
        # What a client waited for must show in the positions, so they are then read anew.
        freshness = await sources.freshness(customers, anew=AFTER_HEADER in request.headers)
        records = await customer_records(await records_at(customers, contact_id, moment), contact_id, TIMELINE_SHOWN)
        blocks = await opened(customers, records.blocks())
        items = timeline_items(records.timeline, records.replies, blocks)
        timeline = TimelinePages(cursor_key, contact_id).page(items, TIMELINE_SHOWN)
        return encoded(compose(records, blocks, timeline, freshness))

    @router.get("", responses={200: {"model": CustomerView}})
    async def customer_with_identifier(
        customers: CustomersRead,
        identifier: Annotated[Identifier, Depends(the_one_identifier)],
        moment: AtMoment,
        request: Request,
    ) -> Response:
        """The single customer view of whoever has this identifier today: give exactly one."""
        return await view(customers, await contact_with(customers, identifier, indexer), moment, request)

    @router.get("/{contact_id}", responses={200: {"model": CustomerView}})
    async def customer(customers: CustomersRead, contact_id: UUID, moment: AtMoment, request: Request) -> Response:
        """The single customer view, now or as of any past moment.

        `freshness` tells how far the sources have been read by now, also in a view of the past.
        """
        return await view(customers, str(contact_id), moment, request)

    @router.get("/{contact_id}/timeline", responses={200: {"model": Timeline}})
    async def timeline(
        customers: CustomersRead,
        contact_id: UUID,
        moment: AtMoment,
        cursor: Annotated[
            str | None,
            Query(max_length=512, description="`timeline.next` of the view, or `next`; without it, the first page."),
        ] = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Response:
        """The timeline, newest first: its first page, or the one that a cursor names; of the past with `at` again."""
        pages = TimelinePages(cursor_key, str(contact_id))
        after = pages.position(cursor) if cursor else None
        found = await records_at(customers, str(contact_id), moment)
        records = await timeline_records(found, str(contact_id), after, limit)
        blocks = await opened(customers, records.blocks())
        return encoded(pages.page(timeline_items(records.timeline, records.replies, blocks), limit))

    @router.get("/{contact_id}/history", responses={200: {"model": History}})
    async def history(
        customers: CustomersRead,
        contact_id: UUID,
        cursor: Annotated[str | None, Query(max_length=512, description="`next` of the page before.")] = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Response:
        """Every change of this customer, newest first: the event, who did it, why, and the fields that it changed."""
        signer = CursorSigner(cursor_key, f"history/{contact_id}".encode())
        items = await history_items(customers, str(contact_id), signer.read(cursor) if cursor else None, limit + 1)
        shown = items[:limit]
        following = signer.sign(position_of(shown[-1])) if len(items) > limit else None
        return encoded({"items": shown, "next": following})

    return router
