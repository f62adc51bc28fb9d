"""A ticket: somebody asked for help, until the request is answered."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from crm_events.adapter import Channel
from crm_events.event import Event
from crm_events.parties import Note
from crm_events.service import (
    Priority,
    Reply,
    ReplyAuthor,
    TicketAssigned,
    TicketLinked,
    TicketOpened,
    TicketPartyUnknown,
    TicketReopened,
    TicketReplied,
    TicketRequest,
    TicketResolved,
)
from crm_platform.aggregate import Aggregate
from crm_platform.errors import AlreadyTaken, NotAllowed


class TicketStatus(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"


class Ticket(Aggregate):
    opened_at: datetime
    resolved_at: datetime

    def __init__(self, id: UUID) -> None:  # noqa: A002 - it is the ticket's id
        super().__init__(id)
        self.status: TicketStatus | None = None
        self.agent: str | None = None
        self.contact_id: UUID | None = None
        self.party_unknown: str | None = None

    @property
    def exists(self) -> bool:
        """A stream that began with anything but an opened ticket is no ticket."""
        return self.status is not None

    def open(self, request: TicketRequest, channel: Channel, priority: Priority, at: datetime) -> None:
        if self.version:
            raise AlreadyTaken(f"The id {self.id} is in use; send the ticket with another Idempotency-Key.")
        self.record(TicketOpened(channel=channel, priority=priority, request=request, occurred_at=at))

    def assign(self, agent: str, at: datetime) -> None:
        """`agent` is the user id of the member of staff who has the ticket from now on."""
        self._must_be_open(to="be assigned")
        if agent == self.agent:
            raise NotAllowed(f"The ticket is assigned to {agent} already; name another agent.")
        self.record(TicketAssigned(agent=agent, occurred_at=at))

    def reply(self, reply: Reply, author: ReplyAuthor, at: datetime) -> None:
        self._must_be_open(to="be replied to")
        self.record(TicketReplied(author=author, reply=reply, occurred_at=at))

    def resolve(self, note: Note | None, at: datetime) -> None:
        self._must_be_open(to="be resolved")
        self.record(TicketResolved(opened_at=self.opened_at, note=note, occurred_at=at))

    def reopen(self, note: Note | None, at: datetime) -> None:
        if self.status is not TicketStatus.RESOLVED:
            raise NotAllowed(f"The ticket is {self.status}; only a resolved ticket can be reopened.")
        self.record(TicketReopened(opened_at=self.opened_at, resolved_at=self.resolved_at, note=note, occurred_at=at))

    def link(self, contact_id: UUID, at: datetime) -> None:
        """The ticket's party is this contact; to be told so again changes nothing."""
        if self.contact_id != contact_id:
            self.record(TicketLinked(contact_id=contact_id, occurred_at=at))

    def miss_party(self, reason: str, at: datetime) -> None:
        """Contacts knows nobody for the ticket's party; to be told so again changes nothing."""
        if self.party_unknown != reason:
            self.record(TicketPartyUnknown(reason=reason, occurred_at=at))

    def apply(self, event: Event) -> None:
        match event:
            case TicketOpened():
                self.status, self.opened_at = TicketStatus.OPEN, event.occurred_at
            case TicketLinked():
                self.contact_id, self.party_unknown = event.contact_id, None
            case TicketPartyUnknown():
                self.contact_id, self.party_unknown = None, event.reason
            case TicketAssigned():
                self.agent = event.agent
            case TicketResolved():
                self.status, self.resolved_at = TicketStatus.RESOLVED, event.occurred_at
            case TicketReopened():
                self.status = TicketStatus.OPEN

    def _must_be_open(self, *, to: str) -> None:
        if self.status is not TicketStatus.OPEN:
            raise NotAllowed(f"The ticket is {self.status}; it must be reopened before it can {to}.")
