"""The read model of tickets: one row each, and one for every reply."""

from datetime import datetime
from typing import Any, ClassVar

from msgspec.structs import replace

from crm_events.contacts import party_stream
from crm_events.envelope import Recorded
from crm_events.service import (
    ReplyAuthor,
    ServiceEvent,
    TicketAssigned,
    TicketLinked,
    TicketOpened,
    TicketPartyUnknown,
    TicketReopened,
    TicketReplied,
    TicketResolved,
)
from crm_events.topics import SERVICE
from crm_platform.projection import Document, Index, Place, Projection, fold
from crm_platform.sealing import SealedBlock
from crm_service.domain import TicketStatus


class TicketRow(Document, frozen=True, kw_only=True):
    """`awaits` is the stream in which contacts will answer, empty once it has; `changed_at` is when it last changed.

    `party_unknown` is why contacts knows nobody for it, None as long as it may. `first_reply_at` is an agent's first
    reply; `note` was left at the last resolution or reopening.
    """

    collection: ClassVar[str] = "tickets"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("-opened_at", "-_id"),
        Index("status", "-opened_at", "-_id"),
        Index("priority", "-opened_at", "-_id"),
        Index("agent", "-opened_at", "-_id"),
        Index("awaits"),
    )

    status: str
    channel: str
    priority: str
    opened_at: datetime
    changed_at: datetime
    request: SealedBlock | None
    contact_id: str | None = None
    party_unknown: str | None = None
    awaits: str = ""
    agent: str | None = None
    replies: int = 0
    first_reply_at: datetime | None = None
    resolved_at: datetime | None = None
    reopens: int = 0
    note: SealedBlock | None = None


class TicketReplyRow(Document, frozen=True, kw_only=True):
    """One reply: a long conversation never grows its ticket's row."""

    collection: ClassVar[str] = "replies"
    indexes: ClassVar[tuple[Index, ...]] = (Index("ticket_id", "-replied_at", "-_id"),)

    ticket_id: str
    author: str
    replied_at: datetime
    reply: SealedBlock | None


def by_event(event: Recorded[Any], place: Place) -> str:  # noqa: ARG001 - the signature of every key
    return str(event.id)


class Tickets(Projection):
    name, version, topics = "service.tickets", 1, (SERVICE,)

    def pending_filter(self, stream: str) -> list[tuple[type[Document], dict[str, Any]]]:
        """A ticket shows by what it awaits that contacts has not answered it yet."""
        return [(TicketRow, {"awaits": stream})]

    @fold(TicketOpened, TicketRow)
    def opened(self, row: TicketRow | None, event: Recorded[TicketOpened]) -> TicketRow:  # noqa: ARG002 - the first fact
        return TicketRow(
            id=str(event.subject),
            version=event.sequence,
            status=TicketStatus.OPEN.value,
            channel=event.data.channel.value,
            priority=event.data.priority.value,
            opened_at=event.data.occurred_at,
            changed_at=event.time,
            request=SealedBlock.of(event.data.request),
            awaits=str(party_stream(event.subject)),
        )

    @fold(TicketLinked, TicketRow)
    def linked(self, row: TicketRow, event: Recorded[TicketLinked]) -> TicketRow:
        return _after(event, row, contact_id=str(event.data.contact_id), party_unknown=None, awaits="")

    @fold(TicketPartyUnknown, TicketRow)
    def party_unknown(self, row: TicketRow, event: Recorded[TicketPartyUnknown]) -> TicketRow:
        return _after(event, row, contact_id=None, party_unknown=event.data.reason, awaits="")

    @fold(TicketAssigned, TicketRow)
    def assigned(self, row: TicketRow, event: Recorded[TicketAssigned]) -> TicketRow:
        return _after(event, row, agent=event.data.agent)

    @fold(TicketReplied, TicketRow)
    def replied(self, row: TicketRow, event: Recorded[TicketReplied]) -> TicketRow:
        first_reply_at = row.first_reply_at
        if first_reply_at is None and event.data.author is ReplyAuthor.AGENT:
            first_reply_at = event.data.occurred_at
        return _after(event, row, replies=row.replies + 1, first_reply_at=first_reply_at)

    @fold(TicketReplied, TicketReplyRow, key=by_event)
    def reply(self, row: TicketReplyRow | None, event: Recorded[TicketReplied]) -> TicketReplyRow:  # noqa: ARG002 - new
        return TicketReplyRow(
            id=str(event.id),
            version=event.sequence,
            ticket_id=str(event.subject),
            author=event.data.author.value,
            replied_at=event.data.occurred_at,
            reply=SealedBlock.of(event.data.reply),
        )

    @fold(TicketResolved, TicketRow)
    def resolved(self, row: TicketRow, event: Recorded[TicketResolved]) -> TicketRow:
        note = SealedBlock.of(event.data.note)
        return _after(event, row, status=TicketStatus.RESOLVED.value, resolved_at=event.data.occurred_at, note=note)

    @fold(TicketReopened, TicketRow)
    def reopened(self, row: TicketRow, event: Recorded[TicketReopened]) -> TicketRow:
        return _after(
            event,
            row,
            status=TicketStatus.OPEN.value,
            resolved_at=None,
            reopens=row.reopens + 1,
            note=SealedBlock.of(event.data.note),
        )


def _after(event: Recorded[ServiceEvent], row: TicketRow, **changes: object) -> TicketRow:
    return replace(row, version=event.sequence, changed_at=event.time, **changes)
