"""Help that the customer asked for. Whose ticket it is, its PartyLink says."""

from datetime import datetime

import msgspec

from crm_events.envelope import Recorded
from crm_events.service import (
    TicketAssigned,
    TicketLinked,
    TicketOpened,
    TicketPartyUnknown,
    TicketReopened,
    TicketReplied,
    TicketResolved,
)
from crm_platform.projection import Document, Index, Place, Projection, fold
from crm_platform.sealing import SealedBlock


class TicketRecord(Document, frozen=True, kw_only=True):
    """A ticket. `status` is open or resolved; `agent` the user id of the member of staff who has it."""

    collection = "tickets"

    channel: str
    priority: str
    status: str
    opened_at: datetime
    changed_at: datetime
    agent: str | None = None
    resolved_at: datetime | None = None
    replies: int = 0
    request: SealedBlock | None = None
    note: SealedBlock | None = None


class TicketReply(Document, frozen=True, kw_only=True):
    """One reply to a ticket, named by its event's id: conversations grow, so each reply is a record of its own."""

    collection = "ticket_replies"
    indexes = (Index("ticket_id", "-occurred_at", "-_id"),)

    ticket_id: str
    author: str
    occurred_at: datetime
    recorded_at: datetime
    reply: SealedBlock | None = None


def by_event(event: Recorded[TicketReplied], place: Place) -> str:  # noqa: ARG001 - the signature of every key
    return str(event.id)


class TicketFolds(Projection):
    @fold(TicketOpened, TicketRecord)
    def ticket_opened(self, _: TicketRecord | None, event: Recorded[TicketOpened]) -> TicketRecord:
        return TicketRecord(
            id=str(event.subject),
            version=event.sequence,
            channel=event.data.channel.value,
            priority=event.data.priority.value,
            status="open",
            opened_at=event.data.occurred_at,
            changed_at=event.data.occurred_at,
            request=SealedBlock.of(event.data.request),
        )

    @fold(TicketLinked, TicketRecord)
    @fold(TicketPartyUnknown, TicketRecord)
    def ticket_answered(self, ticket: TicketRecord, event: Recorded[TicketLinked | TicketPartyUnknown]) -> TicketRecord:
        return msgspec.structs.replace(ticket, version=event.sequence)

    @fold(TicketAssigned, TicketRecord)
    def ticket_assigned(self, ticket: TicketRecord, event: Recorded[TicketAssigned]) -> TicketRecord:
        return msgspec.structs.replace(
            ticket, version=event.sequence, agent=event.data.agent, changed_at=event.data.occurred_at
        )

    @fold(TicketReplied, TicketRecord)
    def ticket_replied(self, ticket: TicketRecord, event: Recorded[TicketReplied]) -> TicketRecord:
        return msgspec.structs.replace(
            ticket, version=event.sequence, replies=ticket.replies + 1, changed_at=event.data.occurred_at
        )

    @fold(TicketReplied, TicketReply, key=by_event)
    def reply_written(self, _: TicketReply | None, event: Recorded[TicketReplied]) -> TicketReply:
        return TicketReply(
            id=str(event.id),
            version=event.sequence,
            ticket_id=str(event.subject),
            author=event.data.author.value,
            occurred_at=event.data.occurred_at,
            recorded_at=event.time,
            reply=SealedBlock.of(event.data.reply),
        )

    @fold(TicketResolved, TicketRecord)
    def ticket_resolved(self, ticket: TicketRecord, event: Recorded[TicketResolved]) -> TicketRecord:
        return msgspec.structs.replace(
            ticket,
            version=event.sequence,
            status="resolved",
            note=SealedBlock.of(event.data.note),
            changed_at=event.data.occurred_at,
            resolved_at=event.data.occurred_at,
        )

    @fold(TicketReopened, TicketRecord)
    def ticket_reopened(self, ticket: TicketRecord, event: Recorded[TicketReopened]) -> TicketRecord:
        return msgspec.structs.replace(
            ticket,
            version=event.sequence,
            status="open",
            note=SealedBlock.of(event.data.note),
            changed_at=event.data.occurred_at,
            resolved_at=None,
        )
