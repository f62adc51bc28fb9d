"""GET /api/events and /api/events/stream: published events for other programs, from anywhere in the past on."""

from collections import Counter
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import StreamingResponse

from crm_events.event import Instant
from crm_gateway.answers import EventPage
from crm_gateway.api.encoding import encoded
from crm_gateway.projections.customers import Customers
from crm_gateway.subscriptions.event_filter import EventFilter
from crm_gateway.subscriptions.event_stream import BATCH, EventStream, Listener
from crm_gateway.subscriptions.open_streams import OpenStreams
from crm_gateway.subscriptions.start import Start
from crm_gateway.subscriptions.subscription import Subscription
from crm_gateway.subscriptions.subscriptions import Asked, Subscriptions
from crm_platform.auth import STAFF, Actor, require
from crm_platform.errors import Malformed, Unavailable
from crm_platform.http.connected import connected
from crm_platform.http.middleware import streams
from crm_platform.http.paging import DEFAULT_LIMIT, MAX_LIMIT
from crm_platform.live_read_model import LiveReadModel

LONGEST_CURSOR = 4096
MOST_TYPES = 50

READER = require(*STAFF)
Reader = Annotated[Actor, Depends(READER)]
TypeName = Annotated[str, StringConstraints(max_length=100)]
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        max_length=LONGEST_CURSOR,
        description="The id of the last event that was received: the stream goes on behind it, whatever `after` says.",
    ),
]


class StreamQuery(BaseModel):
    """Which events, and from where. An unknown parameter is refused: a misspelt filter would let all through."""

    model_config = ConfigDict(extra="forbid")

    type: list[TypeName] = Field(
        default=[],
        max_length=MOST_TYPES,
        description="Events of these types: a full name, one without its version (every version), or the beginning of"
        " names with `*` behind it. Without it: of every type.",
    )
    customer: UUID | None = Field(default=None, description="Events of this contact and of all that belongs to it.")
    personal: Literal["sealed", "open"] = Field(
        default="sealed", description="Whether personal blocks are opened. What is erased stays sealed."
    )
    after: str | None = Field(
        default=None,
        max_length=LONGEST_CURSOR,
        description="A cursor: `next` of a page, or the id of a streamed event. It goes on exactly behind it.",
    )
    since: Instant | None = Field(
        default=None, alias="from", description="Events recorded at this past instant or later."
    )
    position: str | None = Field(
        default=None,
        max_length=LONGEST_CURSOR,
        description="A CRM-Position: in each partition that it names, the events after that position.",
    )


class PageQuery(StreamQuery):
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="Items a page, at most.")


_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events without end, each with the id to go on from, its type, and its CloudEvents document.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    410: {"$ref": "#/components/responses/Problem"},
    400: {"$ref": "#/components/responses/Problem"},
    404: {"$ref": "#/components/responses/Problem"},
}
_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"model": EventPage},
    **{status: refusal for status, refusal in _STREAM.items() if status != 200},
}


def subscription_routes(subscriptions: Subscriptions, open_streams: OpenStreams) -> APIRouter:
    """Events in pages, and as a stream."""
    router = APIRouter(prefix="/api/events", tags=["events"])

    async def subscribed(query: StreamQuery, after: str | None, actor: Actor, request: Request) -> Subscription:
        _told_once(request)
        live: LiveReadModel = connected(request.app.state.read_models.get(Customers))
        return await subscriptions.subscription(_asked(query, after), actor.subject, live)

    @router.get("", responses=_PAGE)
    async def page(query: Annotated[PageQuery, Query()], actor: Reader, request: Request) -> Response:
        """Published events, each once and in the order of its stream: a page of them.

        `next` is always given: ask with it as `after`, now or later, and nothing is left out or given twice. How to
        subscribe, with a client: docs/subscribing.md.
        """
        subscription = await subscribed(query, query.after, actor, request)
        events = [orjson.Fragment(event.document) for event in await subscription.next(query.limit)]
        answer = encoded({"items": events, "next": subscription.cursor, "more": subscription.more})
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @router.get("/stream", response_class=StreamingResponse, responses=_STREAM)
    @streams
    async def stream(
        query: Annotated[StreamQuery, Query()], actor: Reader, request: Request, last_event_id: LastEventId = None
    ) -> Response:
        """The same events as server-sent events, without end.

        A stream ends when its token does, and when the process stops; go on with `Last-Event-ID`, as browsers do. A
        stream counts as one request of the subject's rate.
        """
        if request.app.state.stopping():
            raise Unavailable("The process is stopping; connect again.")
        left = open_streams.admit(actor.subject)
        try:
            subscription = await subscribed(query, last_event_id or query.after, actor, request)
            first = await subscription.next(BATCH)
        except BaseException:
            left()
            raise
        listener = Listener(lambda: READER.actor(request), request.app.state.stopping, left)
        return EventStream(subscription, first, listener)

    return router


def _told_once(request: Request) -> None:
    """Raises Malformed where a parameter that has one value is given twice: only one of them would count."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    if repeated := sorted(name for name, times in given.items() if times > 1 and name != "type"):
        raise Malformed(f"Give {', '.join(repeated)} once; only `type` may be repeated.")


def _asked(query: StreamQuery, after: str | None) -> Asked:
    """Raises Malformed, NotYetHappened and UnknownEventType."""
    if query.after and (query.since or query.position):
        raise Malformed("Give `after`, or `from` and `position`, not both: a cursor knows where its reading began.")
    asked = EventFilter.of(query.type, str(query.customer) if query.customer else None)
    return Asked(asked, Start.of(query.since, query.position), after, opens_personal=query.personal == "open")
