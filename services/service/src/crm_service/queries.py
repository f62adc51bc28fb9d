"""Questions about tickets and their replies."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from crm_events.adapter import Channel
from crm_events.contacts import UnknownReason
from crm_events.parties import Note
from crm_events.service import Priority, Reply, ReplyAuthor, TicketRequest
from crm_platform.http.reads import Page, PageRequest
from crm_platform.read_model import ReadModel
from crm_service.domain import TicketStatus
from crm_service.projections import TicketReplyRow, TicketRow


class TicketView(BaseModel):
    """A ticket as people see it. `request` and `note` are null once the person's data is erased.

    `party_unknown` says why it has no contact and will have none; null if it has one, or has not been answered yet.
    """

    id: UUID
    version: int
    status: TicketStatus
    channel: Channel
    priority: Priority
    opened_at: datetime
    changed_at: datetime
    request: TicketRequest | None
    contact_id: UUID | None
    party_unknown: UnknownReason | None
    agent: str | None
    replies: int
    first_reply_at: datetime | None
    resolved_at: datetime | None
    reopens: int
    note: Note | None


class ReplyView(BaseModel):
    """One reply; `body` is null once the person's data is erased."""

    id: UUID
    author: ReplyAuthor
    replied_at: datetime
    body: str | None


async def the_ticket(tickets: ReadModel, ticket_id: UUID) -> TicketView:
    """Raises NotFound."""
    (view,) = await _views(tickets, [await tickets.get(TicketRow, ticket_id)])
    return view


async def newest_tickets(
    tickets: ReadModel,
    paging: PageRequest,
    *,
    status: TicketStatus | None,
    priority: Priority | None,
    agent: str | None,
) -> Page[TicketView]:
    where = {"status": status and status.value, "priority": priority and priority.value, "agent": agent}
    page = await tickets.page(
        TicketRow, paging, {name: value for name, value in where.items() if value is not None}, newest_by="opened_at"
    )
    return page.of(await _views(tickets, page.items))


async def newest_replies(tickets: ReadModel, paging: PageRequest, ticket_id: UUID) -> Page[ReplyView]:
    """Raises NotFound if there is no such ticket."""
    ticket = await tickets.get(TicketRow, ticket_id)
    page = await tickets.page(TicketReplyRow, paging, {"ticket_id": ticket.id}, newest_by="replied_at")
    replies = await tickets.open_all([row.reply for row in page.items], Reply)
    views = [_reply_view(row, reply) for row, reply in zip(page.items, replies, strict=True)]
    return page.of(views)


async def _views(tickets: ReadModel, rows: Sequence[TicketRow]) -> list[TicketView]:
    requests = await tickets.open_all([row.request for row in rows], TicketRequest)
    notes = await tickets.open_all([row.note for row in rows], Note)
    return [_view(row, request, note) for row, request, note in zip(rows, requests, notes, strict=True)]


def _view(row: TicketRow, request: TicketRequest | None, note: Note | None) -> TicketView:
    return TicketView(
        id=UUID(row.id),
        version=row.version,
        status=TicketStatus(row.status),
        channel=Channel(row.channel),
        priority=Priority(row.priority),
        opened_at=row.opened_at,
        changed_at=row.changed_at,
        request=request,
        contact_id=UUID(row.contact_id) if row.contact_id else None,
        party_unknown=UnknownReason(row.party_unknown) if row.party_unknown else None,
        agent=row.agent,
        replies=row.replies,
        first_reply_at=row.first_reply_at,
        resolved_at=row.resolved_at,
        reopens=row.reopens,
        note=note,
    )


def _reply_view(row: TicketReplyRow, reply: Reply | None) -> ReplyView:
    return ReplyView(
        id=UUID(row.id),
        author=ReplyAuthor(row.author),
        replied_at=row.replied_at,
        body=reply.body if reply else None,
    )
