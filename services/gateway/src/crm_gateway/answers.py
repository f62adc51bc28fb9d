"""The single customer view as it is answered: plain dictionaries with a declared shape.

One definition serves the type checker, the OpenAPI document and the encoder. Nothing is validated on the way out, which
keeps the answer as fast as a plain document.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import GetPydanticSchema
from typing_extensions import TypedDict  # pydantic reads no other on Python 3.11

from crm_events.contacts import InteractionContent
from crm_events.parties import Identifier, Profile
from crm_events.sales import Inquiry
from crm_events.service import Reply, TicketRequest

Opened = dict[str, Any]
"""A personal block in the clear, as the JSON members that it was sealed with."""


def _declared_as(kind: Any) -> GetPydanticSchema:
    """Opened JSON whose shape is that of an event's block."""
    return GetPydanticSchema(lambda _, handler: handler(kind))


class MoneyAnswer(TypedDict):
    """`amount` is a decimal string with two places."""

    amount: str
    currency: str


class TimelineItem(TypedDict):
    """One touch, at the time when it happened (`occurred_at`), however late it was recorded.

    An `interaction` came through a channel; a `ticket_reply` belongs to the ticket `ticket_id`.
    """

    id: str
    kind: Literal["interaction", "ticket_reply"]
    occurred_at: datetime
    recorded_at: datetime
    channel: str | None
    direction: str
    source: str | None
    order: MoneyAnswer | None
    campaign_id: str | None
    ticket_id: str | None
    content: Annotated[Opened | None, _declared_as(InteractionContent | Reply | None)]


class Timeline(TypedDict):
    """Newest first. `next` is the cursor of the page after this one, null on the last page."""

    items: list[TimelineItem]
    next: str | None


class LeadAnswer(TypedDict):
    id: str
    version: int
    source: str
    stage: str
    score: int | None
    reason: str | None
    opportunity_id: str | None
    captured_at: datetime
    changed_at: datetime
    inquiry: Annotated[Opened | None, _declared_as(Inquiry | None)]
    note: str | None


class OpportunityAnswer(TypedDict):
    id: str
    version: int
    lead_id: str
    title: str | None
    status: str
    stage: str
    value: MoneyAnswer
    expected_close: str | None
    opened_at: datetime
    changed_at: datetime
    closed_at: datetime | None
    loss_reason: str | None
    note: str | None


class TicketAnswer(TypedDict):
    id: str
    version: int
    channel: str
    priority: str
    status: str
    agent: str | None
    replies: int
    opened_at: datetime
    changed_at: datetime
    resolved_at: datetime | None
    request: Annotated[Opened | None, _declared_as(TicketRequest | None)]
    note: str | None


class EngagementAnswer(TypedDict):
    """The customer answered a campaign with this interaction."""

    interaction_id: str
    channel: str
    occurred_at: datetime


class CampaignAnswer(TypedDict):
    """`name` is null as long as the campaign itself has not arrived; `enrolled_at` where nobody enrolled them."""

    id: str
    name: str | None
    channel: str | None
    enrolled_at: datetime | None
    engagements: list[EngagementAnswer]


class TotalsAnswer(TypedDict):
    """`revenue` holds decimal strings by currency; a return lowers it and is no order."""

    orders: int
    revenue: dict[str, str]
    interactions: int
    last_contact_at: datetime | None


class SectionFreshness(TypedDict):
    """How much of a section's source the view has seen.

    `position` is the highest position applied, by partition of `topic`; `age_seconds` how long ago the newest event
    applied was recorded, null before the first. `stale` says that newer facts are known to be missing, or may be.
    """

    topic: str
    position: dict[str, int]
    age_seconds: float | None
    stale: bool


class CustomerView(TypedDict):
    """The customer on one page.

    `profile` is null and `erased` true when the personal data was erased; `profile` alone is null as long as the
    contact's own record has not arrived. `complete` is false for the rare customer with more leads, tickets, campaigns
    or engagements than one page shows: then the newest are shown, and the owning services list the rest.
    """

    contact_id: str
    erased: bool
    source: str | None
    registered_at: datetime | None
    updated_at: datetime | None
    profile: Annotated[Opened | None, _declared_as(Profile | None)]
    identifiers: Annotated[list[Opened], _declared_as(list[Identifier])]
    timeline: Timeline
    leads: list[LeadAnswer]
    opportunities: list[OpportunityAnswer]
    tickets: list[TicketAnswer]
    campaigns: list[CampaignAnswer]
    totals: TotalsAnswer
    complete: bool
    freshness: dict[str, SectionFreshness]


class CauseAnswer(TypedDict):
    """What led to an event: another event, whose `type` is given, or a command, whose type is null."""

    id: str
    type: str | None


class FieldChange(TypedDict):
    """A field of a record, as `stage`, or of a personal block, as `profile.name`; null: absent, or erased."""

    field: str
    before: Any
    after: Any


class ChangedRecord(TypedDict):
    """`record` names a kind of record, such as `leads`; `id` the one that changed."""

    record: str
    id: str
    fields: list[FieldChange]


class HistoryItem(TypedDict):
    """One event about the customer, and what it changed.

    `actor` is who did it, `cause` what it follows from, `correlation` the story that it belongs to.
    """

    id: str
    type: str
    recorded_at: datetime
    occurred_at: datetime
    actor: str
    cause: CauseAnswer
    correlation: str
    stream: str
    sequence: int
    changed: list[ChangedRecord]


class History(TypedDict):
    """Newest first, by when it was recorded. `next` is the cursor of the page after this one, null on the last page."""

    items: list[HistoryItem]
    next: str | None


class TracedEvent(TypedDict):
    """An event without its content. `cause` is the id of the event or command that led to it."""

    id: str
    type: str
    stream: str
    sequence: int
    recorded_at: datetime
    occurred_at: datetime
    actor: str
    cause: str
    correlation: str


class BlastRadius(TypedDict):
    """`causes` led to the event, the first one first; `effects` followed from it, as they were recorded.

    `customers` are the contacts whose view shows the event or an effect. `complete` is false where the story is too
    long to be shown whole.
    """

    event: TracedEvent
    causes: list[TracedEvent]
    effects: list[TracedEvent]
    customers: list[str]
    complete: bool


class PublishedEvent(TypedDict):
    """A CloudEvents 1.0 document as it was published; `data` has the shape of its `type` (docs/events.md)."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str
    sequence: str
    correlationid: str
    causationid: str
    actor: str
    data: dict[str, Any]


class EventPage(TypedDict):
    """`next` is where the page ends: always given, also where nothing stands behind it yet.

    `more` says that something does.
    """

    items: list[PublishedEvent]
    next: str
    more: bool


class ExportedEvent(TypedDict):
    """A fact as it was recorded; what is personal in `data` is in the clear, or null where it is `erased`.

    Its members are those of the event's schema (docs/events.md).
    """

    id: str
    type: str
    stream: str
    recorded_at: datetime
    occurred_at: datetime
    erased: bool
    data: dict[str, Any]


class HeldBy(TypedDict):
    """What one service holds about a person, in words and as events, the first recorded first."""

    holds: str
    events: list[ExportedEvent]


class PersonalData(TypedDict):
    """Everything that is held about one person, by the service that holds it."""

    contact_id: str
    exported_at: datetime
    services: dict[str, HeldBy]
