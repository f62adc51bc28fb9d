"""Facts of the service desk: tickets."""

from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from crm_events.adapter import Channel
from crm_events.event import Event, Instant, Personal, Value
from crm_events.parties import LongText, Note, Party, ShortText


class ServiceEvent(Event):
    context: ClassVar[str] = "service"


class Priority(StrEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class TicketRequest(Value):
    """Who asks for help, and what about."""

    party: Party
    subject: ShortText
    body: LongText | None = None


class TicketOpened(ServiceEvent):
    """Somebody asked for help; the first fact of every ticket."""

    channel: Channel
    priority: Priority
    request: Personal[TicketRequest]


class TicketLinked(ServiceEvent):
    """The ticket's party is this contact."""

    contact_id: UUID


class TicketPartyUnknown(ServiceEvent):
    """Contacts knows nobody for the ticket's party; the ticket stays without a contact."""

    reason: str


class TicketAssigned(ServiceEvent):
    """An agent took the ticket, or was given it. `agent` is the member of staff's user id."""

    agent: str


class ReplyAuthor(StrEnum):
    AGENT = "agent"
    CUSTOMER = "customer"


class Reply(Value):
    body: LongText


class TicketReplied(ServiceEvent):
    author: ReplyAuthor
    reply: Personal[Reply]


class TicketResolved(ServiceEvent):
    """The request is answered. `opened_at` is when the ticket was opened, so how long it took needs no other fact."""

    opened_at: Instant
    note: Personal[Note] | None = None


class TicketReopened(ServiceEvent):
    """The answer did not hold. `resolved_at` is the resolution that is taken back."""

    opened_at: Instant
    resolved_at: Instant
    note: Personal[Note] | None = None
