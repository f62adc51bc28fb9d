"""What the read model of the service desk shows after which events."""

from datetime import datetime, timedelta

import pytest

from crm_events.adapter import Channel
from crm_events.envelope import event_id
from crm_events.event import Event, Sealed
from crm_events.parties import Party
from crm_events.service import (
    Priority,
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
from crm_platform.testing import SOME_STREAM, SOME_TIME, fold_all, recorded, story_id
from crm_service.projections import TicketReplyRow, TicketRow, Tickets

CONTACT = story_id("the contact Ann")


def minutes(n: int) -> datetime:
    return SOME_TIME + timedelta(minutes=n)


def sealed(sequence: int) -> Sealed:
    return Sealed(event=event_id(SOME_STREAM, sequence), subject=SOME_STREAM, key=story_id("a key"), box="c2VhbGVk")


def replied(sequence: int, author: ReplyAuthor) -> TicketReplied:
    return TicketReplied(author=author, reply=sealed(sequence), occurred_at=minutes(sequence))


OPENED = TicketOpened(channel=Channel.EMAIL, priority=Priority.HIGH, request=sealed(1), occurred_at=SOME_TIME)
LINKED = TicketLinked(contact_id=CONTACT, occurred_at=SOME_TIME)


def after(*events: Event) -> tuple[TicketRow, list[TicketReplyRow]]:
    happened = [recorded(event, sequence=n, time=minutes(n)) for n, event in enumerate(events, 1)]
    documents = fold_all(Tickets(), happened)
    ticket = documents.pop((TicketRow, str(SOME_STREAM)))
    assert isinstance(ticket, TicketRow)
    return ticket, [reply for reply in documents.values() if isinstance(reply, TicketReplyRow)]


def test_an_opened_ticket_is_open_and_its_request_stays_sealed() -> None:
    ticket, _ = after(OPENED)
    assert (ticket.id, ticket.version, ticket.status) == (str(SOME_STREAM), 1, "open")
    assert (ticket.channel, ticket.priority) == ("email", "high")
    assert (ticket.opened_at, ticket.changed_at) == (SOME_TIME, minutes(1))
    assert ticket.request
    assert ticket.request.box == "c2VhbGVk"


def test_a_read_model_refuses_an_open_request() -> None:
    request = TicketRequest(party=Party(name="Ann"), subject="The chair wobbles")
    with pytest.raises(TypeError, match="sealed"):
        after(OPENED.model_copy(update={"request": request}))


def test_a_linked_ticket_shows_its_contact_and_awaits_nothing_more() -> None:
    ticket, _ = after(OPENED, LINKED)
    assert (ticket.contact_id, ticket.awaits, ticket.version) == (str(CONTACT), "", 2)


def test_a_ticket_of_an_unknown_party_has_no_contact_and_awaits_nothing_more() -> None:
    ticket, _ = after(OPENED, LINKED, TicketPartyUnknown(reason="erased", occurred_at=SOME_TIME))
    assert (ticket.contact_id, ticket.party_unknown, ticket.awaits) == (None, "erased", "")


def test_a_ticket_that_is_linked_after_all_has_no_reason_to_be_without_a_contact() -> None:
    ticket, _ = after(OPENED, TicketPartyUnknown(reason="not_identified", occurred_at=SOME_TIME), LINKED)
    assert (ticket.contact_id, ticket.party_unknown) == (str(CONTACT), None)


def test_the_first_reply_is_the_first_one_of_an_agent() -> None:
    ticket, _ = after(
        OPENED, replied(2, ReplyAuthor.CUSTOMER), replied(3, ReplyAuthor.AGENT), replied(4, ReplyAuthor.AGENT)
    )
    assert (ticket.replies, ticket.first_reply_at) == (3, minutes(3))


def test_every_reply_is_a_record_of_its_own() -> None:
    _, replies = after(OPENED, replied(2, ReplyAuthor.CUSTOMER), replied(3, ReplyAuthor.AGENT))
    assert [(reply.id, reply.ticket_id, reply.author, reply.replied_at) for reply in replies] == [
        (str(event_id(SOME_STREAM, 2)), str(SOME_STREAM), "customer", minutes(2)),
        (str(event_id(SOME_STREAM, 3)), str(SOME_STREAM), "agent", minutes(3)),
    ]
    assert all(reply.reply for reply in replies)


def test_a_resolved_ticket_shows_its_agent_and_when_it_was_resolved() -> None:
    resolved = TicketResolved(opened_at=SOME_TIME, note=sealed(3), occurred_at=minutes(3))
    ticket, _ = after(OPENED, TicketAssigned(agent="kim", occurred_at=SOME_TIME), resolved)
    assert (ticket.status, ticket.agent, ticket.resolved_at) == ("resolved", "kim", minutes(3))
    assert ticket.note


def test_a_reopened_ticket_is_open_again_and_counts_it() -> None:
    resolved = TicketResolved(opened_at=SOME_TIME, note=sealed(2), occurred_at=minutes(2))
    reopened = TicketReopened(opened_at=SOME_TIME, resolved_at=minutes(2), occurred_at=minutes(3))
    ticket, _ = after(OPENED, resolved, reopened)
    assert (ticket.status, ticket.resolved_at, ticket.reopens, ticket.note) == ("open", None, 1, None)
