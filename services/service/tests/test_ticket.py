"""The rules of a ticket."""

from datetime import UTC, datetime, timedelta
from operator import methodcaller
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from crm_events.adapter import Channel
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
from crm_platform.errors import AlreadyTaken, NotAllowed, Refusal
from crm_platform.testing import SOME_STREAM, SOME_TIME, given, recorded, story_id
from crm_service.domain import Ticket, TicketStatus

AT = SOME_TIME + timedelta(hours=1)
RESOLVED_AT = SOME_TIME + timedelta(minutes=30)
ANN = story_id("the contact Ann")
BOB = story_id("the contact Bob")
REQUEST = TicketRequest(party=Party(email="ann@example.org"), subject="The chair wobbles", body="Since Monday.")
REPLY = Reply(body="Please tighten the screw.")
NOTE = Note(text="Sent a new screw.")
OPENED = TicketOpened(channel=Channel.EMAIL, priority=Priority.NORMAL, request=REQUEST, occurred_at=SOME_TIME)
ASSIGNED = TicketAssigned(agent="kim", occurred_at=SOME_TIME)
REPLIED = TicketReplied(author=ReplyAuthor.AGENT, reply=REPLY, occurred_at=SOME_TIME)
RESOLVED = TicketResolved(opened_at=SOME_TIME, occurred_at=RESOLVED_AT)
REOPENED = TicketReopened(opened_at=SOME_TIME, resolved_at=RESOLVED_AT, occurred_at=AT)
LINKED = TicketLinked(contact_id=ANN, occurred_at=SOME_TIME)
UNKNOWN = TicketPartyUnknown(reason="no_such_contact", occurred_at=SOME_TIME)


def test_a_ticket_is_opened_with_its_request() -> None:
    given(Ticket).when(lambda ticket: ticket.open(REQUEST, Channel.EMAIL, Priority.NORMAL, SOME_TIME)).then(OPENED)


def test_a_ticket_is_opened_only_once() -> None:
    given(Ticket, OPENED).when(lambda ticket: ticket.open(REQUEST, Channel.EMAIL, Priority.NORMAL, AT)).refuses(
        AlreadyTaken
    )


def test_a_stream_that_did_not_begin_with_an_opened_ticket_is_no_ticket() -> None:
    assert not Ticket.fold(SOME_STREAM, [recorded(ASSIGNED)]).exists


def test_a_ticket_is_given_to_an_agent_and_passed_on_to_another() -> None:
    given(Ticket, OPENED).when(lambda ticket: ticket.assign("kim", AT)).then(
        TicketAssigned(agent="kim", occurred_at=AT)
    )
    given(Ticket, OPENED, ASSIGNED).when(lambda ticket: ticket.assign("lee", AT)).then(
        TicketAssigned(agent="lee", occurred_at=AT)
    )


def test_a_ticket_is_not_assigned_to_the_agent_who_has_it() -> None:
    given(Ticket, OPENED, ASSIGNED).when(lambda ticket: ticket.assign("kim", AT)).refuses(
        NotAllowed, saying="assigned to kim already"
    )


@pytest.mark.parametrize("author", ReplyAuthor)
def test_agent_and_customer_reply_to_an_open_ticket(author: ReplyAuthor) -> None:
    given(Ticket, OPENED).when(lambda ticket: ticket.reply(REPLY, author, AT)).then(
        TicketReplied(author=author, reply=REPLY, occurred_at=AT)
    )


def test_a_resolution_says_when_the_ticket_was_opened() -> None:
    given(Ticket, OPENED).when(lambda ticket: ticket.resolve(NOTE, AT)).then(
        TicketResolved(opened_at=SOME_TIME, note=NOTE, occurred_at=AT)
    )


@pytest.mark.parametrize(
    "decision",
    [
        methodcaller("assign", "lee", AT),
        methodcaller("reply", REPLY, ReplyAuthor.AGENT, AT),
        methodcaller("reply", REPLY, ReplyAuthor.CUSTOMER, AT),
        methodcaller("resolve", None, AT),
    ],
)
def test_a_resolved_ticket_must_be_reopened_before_anything_else(decision: Any) -> None:
    given(Ticket, OPENED, RESOLVED).when(decision).refuses(NotAllowed, saying="it must be reopened before")


def test_a_reopening_says_which_resolution_it_takes_back() -> None:
    given(Ticket, OPENED, RESOLVED).when(lambda ticket: ticket.reopen(NOTE, AT)).then(
        TicketReopened(opened_at=SOME_TIME, resolved_at=RESOLVED_AT, note=NOTE, occurred_at=AT)
    )


@pytest.mark.parametrize("history", [(OPENED,), (OPENED, RESOLVED, REOPENED)])
def test_only_a_resolved_ticket_is_reopened(history: tuple[Event, ...]) -> None:
    given(Ticket, *history).when(lambda ticket: ticket.reopen(None, AT)).refuses(
        NotAllowed, saying="only a resolved ticket can be reopened"
    )


def test_a_reopened_ticket_is_open_and_keeps_its_agent() -> None:
    ticket = given(Ticket, OPENED, ASSIGNED, RESOLVED, REOPENED).then()
    assert (ticket.status, ticket.agent) == (TicketStatus.OPEN, "kim")


def test_a_resolved_party_links_the_ticket_once() -> None:
    expected = TicketLinked(contact_id=ANN, occurred_at=AT)
    given(Ticket, OPENED).when(lambda ticket: ticket.link(ANN, AT)).then(expected)
    given(Ticket, OPENED, LINKED).when(lambda ticket: ticket.link(ANN, AT)).then()


def test_a_late_answer_links_a_resolved_ticket() -> None:
    expected = TicketLinked(contact_id=ANN, occurred_at=AT)
    given(Ticket, OPENED, RESOLVED).when(lambda ticket: ticket.link(ANN, AT)).then(expected)


def test_a_ticket_follows_a_changed_answer() -> None:
    given(Ticket, OPENED, LINKED).when(lambda ticket: ticket.link(BOB, AT)).then(
        TicketLinked(contact_id=BOB, occurred_at=AT)
    )


def test_an_unknown_party_is_recorded_once() -> None:
    expected = TicketPartyUnknown(reason="no_such_contact", occurred_at=AT)
    given(Ticket, OPENED).when(lambda ticket: ticket.miss_party("no_such_contact", AT)).then(expected)
    given(Ticket, OPENED, UNKNOWN).when(lambda ticket: ticket.miss_party("no_such_contact", AT)).then()


moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - made aware
decisions = st.one_of(
    st.builds(methodcaller, *map(st.just, ("open", REQUEST, Channel.WEB, Priority.HIGH)), moments),
    st.builds(methodcaller, st.just("assign"), st.sampled_from(["kim", "lee"]), moments),
    st.builds(methodcaller, st.just("reply"), st.just(REPLY), st.sampled_from(ReplyAuthor), moments),
    st.builds(methodcaller, st.just("resolve"), st.sampled_from([None, NOTE]), moments),
    st.builds(methodcaller, st.just("reopen"), st.sampled_from([None, NOTE]), moments),
    st.builds(methodcaller, st.just("link"), st.sampled_from([ANN, BOB]), moments),
    st.builds(methodcaller, st.just("miss_party"), st.sampled_from(["no_such_contact", "erased"]), moments),
)


@for_all(st.lists(decisions, max_size=20))
def test_a_ticket_folded_from_its_events_is_the_ticket_that_decided_them(story: list[Any]) -> None:
    ticket = given(Ticket, OPENED).then()
    for decision in story:
        before = len(ticket.pending)
        try:
            decision(ticket)
        except Refusal:
            assert len(ticket.pending) == before
    history = [OPENED, *ticket.pending]
    folded = Ticket.fold(ticket.id, [recorded(event, sequence=n) for n, event in enumerate(history, 1)])
    assert state_of(folded) == state_of(ticket)
    resolutions, reopenings = (sum(isinstance(e, kind) for e in history) for kind in (TicketResolved, TicketReopened))
    assert resolutions - reopenings == (ticket.status is TicketStatus.RESOLVED)


EVENTS = [OPENED, ASSIGNED, REPLIED, RESOLVED, REOPENED, LINKED, UNKNOWN]


@for_all(st.lists(st.sampled_from(EVENTS)))
def test_no_history_however_odd_fails_to_fold(history: list[Event]) -> None:
    ticket = Ticket.fold(SOME_STREAM, [recorded(event, sequence=n) for n, event in enumerate(history, 1)])
    assert ticket.version == len(history)


def state_of(ticket: Ticket) -> dict[str, object]:
    return {name: value for name, value in vars(ticket).items() if name != "pending"}
