"""What each command does in a unit of work."""

from datetime import timedelta
from typing import TypeVar

import pytest
from pydantic import BaseModel

from crm_events.adapter import Channel
from crm_events.contacts import Cause, PartyResolved, PartyUnknown, UnknownReason, party_stream
from crm_events.event import Event
from crm_events.parties import Note, Party
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
from crm_platform.errors import NotFound, NotYetHappened, VersionMismatch
from crm_platform.testing import SOME_STREAM, SOME_TIME, Desk, recorded, story_id
from crm_service.application import (
    assign_ticket,
    open_ticket,
    reopen_ticket,
    reply_to_ticket,
    resolve_ticket,
)
from crm_service.commands import AssignTicket, OpenTicket, ReopenTicket, ReplyToTicket, ResolveTicket
from crm_service.policies import LinkTickets

B = TypeVar("B", bound=BaseModel)

ANN = Party(email="ann@example.org")
REQUEST = TicketRequest(party=ANN, subject="The chair wobbles")
OPENED = TicketOpened(channel=Channel.EMAIL, priority=Priority.NORMAL, request=REQUEST, occurred_at=SOME_TIME)
RESOLVED = TicketResolved(opened_at=SOME_TIME, occurred_at=SOME_TIME)
OPEN_IT = OpenTicket(party=ANN, channel=Channel.EMAIL, subject="The chair wobbles")
CONTACT = story_id("the contact Ann")


def test_an_opened_ticket_waits_for_contacts_answer() -> None:
    desk = Desk()
    open_ticket(OPEN_IT, desk.work)
    assert desk.staged() == [(SOME_STREAM, OPENED)]
    assert desk.work.answers == [f"{party_stream(SOME_STREAM)}@1"]


def test_a_late_ticket_stands_at_the_time_it_was_true() -> None:
    desk, yesterday = Desk(), SOME_TIME - timedelta(days=1)
    open_ticket(OPEN_IT.model_copy(update={"occurred_at": yesterday}), desk.work)
    ((_, opened),) = desk.staged()
    assert opened.occurred_at == yesterday


def test_a_clock_a_little_ahead_means_now() -> None:
    desk = Desk()
    open_ticket(OPEN_IT.model_copy(update={"occurred_at": SOME_TIME + timedelta(minutes=5)}), desk.work)
    ((_, opened),) = desk.staged()
    assert opened.occurred_at == SOME_TIME


def test_a_ticket_of_the_future_is_refused() -> None:
    command = OPEN_IT.model_copy(update={"occurred_at": SOME_TIME + timedelta(minutes=5, seconds=1)})
    with pytest.raises(NotYetHappened, match="in the future"):
        open_ticket(command, Desk().work)


def test_a_ticket_is_assigned() -> None:
    desk = Desk(OPENED)
    assign_ticket(AssignTicket(agent="kim"), desk.work)
    assert desk.staged() == [(SOME_STREAM, TicketAssigned(agent="kim", occurred_at=SOME_TIME))]


def test_a_reply_is_an_agents_unless_said_otherwise() -> None:
    desk = Desk(OPENED)
    reply_to_ticket(ReplyToTicket(body="Hello"), desk.work)
    expected = TicketReplied(author=ReplyAuthor.AGENT, reply=Reply(body="Hello"), occurred_at=SOME_TIME)
    assert desk.staged() == [(SOME_STREAM, expected)]


def test_a_ticket_is_resolved_with_a_note() -> None:
    desk = Desk(OPENED)
    resolve_ticket(ResolveTicket(note="New screw"), desk.work)
    expected = TicketResolved(opened_at=SOME_TIME, note=Note(text="New screw"), occurred_at=SOME_TIME)
    assert desk.staged() == [(SOME_STREAM, expected)]


def test_a_ticket_is_reopened_without_a_note() -> None:
    desk = Desk(OPENED, RESOLVED)
    reopen_ticket(ReopenTicket(), desk.work)
    expected = TicketReopened(opened_at=SOME_TIME, resolved_at=SOME_TIME, occurred_at=SOME_TIME)
    assert desk.staged() == [(SOME_STREAM, expected)]


def test_a_ticket_that_was_never_opened_is_not_found() -> None:
    with pytest.raises(NotFound):
        resolve_ticket(ResolveTicket(), Desk().work)


def test_a_ticket_that_changed_since_it_was_read_is_not_resolved() -> None:
    with pytest.raises(VersionMismatch):
        resolve_ticket(ResolveTicket(), Desk(OPENED, if_match=2).work)


def resolved(cause: Cause = Cause.TICKET) -> PartyResolved:
    return PartyResolved(cause=cause, cause_id=SOME_STREAM, contact_id=CONTACT, occurred_at=SOME_TIME)


def unknown(cause: Cause = Cause.TICKET) -> PartyUnknown:
    return PartyUnknown(cause=cause, cause_id=SOME_STREAM, reason=UnknownReason.NO_SUCH_CONTACT, occurred_at=SOME_TIME)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (resolved(), TicketLinked(contact_id=CONTACT, occurred_at=SOME_TIME)),
        (unknown(), TicketPartyUnknown(reason="no_such_contact", occurred_at=SOME_TIME)),
    ],
)
def test_contacts_answer_reaches_the_ticket_once(answer: Event, expected: Event) -> None:
    event = recorded(answer, subject=party_stream(SOME_STREAM))
    desk = Desk(OPENED)
    LinkTickets().react(event, desk.work)
    LinkTickets().react(event, desk.work)
    assert list(LinkTickets().streams(event)) == [SOME_STREAM]
    assert desk.staged() == [(SOME_STREAM, expected)]


@pytest.mark.parametrize("answer", [resolved(Cause.LEAD), unknown(Cause.LEAD)])
def test_an_answer_to_another_cause_is_passed_over(answer: Event) -> None:
    event = recorded(answer, subject=party_stream(SOME_STREAM))
    desk = Desk()
    LinkTickets().react(event, desk.work)
    assert list(LinkTickets().streams(event)) == []
    assert desk.staged() == []
