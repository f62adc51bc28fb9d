"""How the single customer view reads on a terminal."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from crm_local.customer.command import question
from crm_local.customer.render import render
from crm_local.customer.view import CustomerView
from crm_local.customer.words import ago, plain

_NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)
_ANNA: dict[str, Any] = {
    "contact_id": "6f6b7ad2-6a0e-5a35-9d5e-6d0f2f3c1b11",
    "erased": False,
    "source": "staff",
    "registered_at": "2025-03-04T09:00:00Z",
    "updated_at": "2025-03-04T09:00:00Z",
    "profile": {
        "given_name": "Anna",
        "family_name": "Weber",
        "organisation": "Oak Street Garage",
        "birth_date": "1980-05-06",
        "addresses": [{"lines": ["1 Mill Road"], "city": "York", "postcode": "YO1 7HH", "country": "GB"}],
    },
    "identifiers": [{"kind": "email", "value": "anna@example.org"}, {"kind": "phone", "value": "+441134960000"}],
    "timeline": {
        "items": [
            {
                "id": "1",
                "kind": "interaction",
                "occurred_at": "2026-03-01T10:00:00Z",
                "recorded_at": "2026-03-01T10:00:01Z",
                "channel": "order",
                "direction": "inbound",
                "source": "/adapters/webshop",
                "order": {"amount": "1234.50", "currency": "GBP"},
                "campaign_id": None,
                "ticket_id": None,
                "content": {"external_id": "o/1", "party": {"email": "anna@example.org"}, "subject": "Repeat order"},
            },
            {
                "id": "2",
                "kind": "interaction",
                "occurred_at": "2026-03-04T13:30:00Z",
                "recorded_at": "2026-03-04T13:30:01Z",
                "channel": "sms",
                "direction": "inbound",
                "campaign_id": "c1",
                "content": {"external_id": "s/1", "party": {"email": "anna@example.org"}, "body": "Yes [bold]please"},
            },
            {
                "id": "3",
                "kind": "ticket_reply",
                "occurred_at": "2026-03-04T15:00:00Z",
                "recorded_at": "2026-03-04T15:00:00Z",
                "channel": None,
                "direction": "outbound",
                "ticket_id": "t1",
                "content": {"body": "I am looking into it."},
            },
        ],
        "next": None,
    },
    "leads": [
        {"source": "website", "stage": "converted", "score": 80, "captured_at": "2026-02-01T10:00:00Z"},
        {
            "source": "referral",
            "stage": "new",
            "captured_at": "2026-03-03T10:00:00Z",
            "inquiry": {"party": {"email": "anna@example.org"}, "message": "Is there a trial?"},
        },
    ],
    "opportunities": [
        {
            "title": "Yearly plan",
            "status": "lost",
            "stage": "proposal",
            "value": {"amount": "900.00", "currency": "GBP"},
            "opened_at": "2026-02-02T10:00:00Z",
            "closed_at": "2026-02-20T10:00:00Z",
            "loss_reason": "price",
        }
    ],
    "tickets": [
        {
            "channel": "email",
            "priority": "high",
            "status": "open",
            "agent": "tom.becker",
            "replies": 1,
            "opened_at": "2026-03-04T12:30:00Z",
            "request": {"party": {"email": "anna@example.org"}, "subject": "Cannot sign in"},
        }
    ],
    "campaigns": [
        {
            "id": "c1",
            "name": "Open house",
            "channel": "sms",
            "enrolled_at": "2026-03-04T13:00:00Z",
            "engagements": [{"interaction_id": "2", "channel": "sms", "occurred_at": "2026-03-04T13:30:00Z"}],
        }
    ],
    "totals": {
        "orders": 1,
        "revenue": {"GBP": "1234.50"},
        "interactions": 2,
        "last_contact_at": "2026-03-04T13:30:00Z",
    },
    "complete": True,
    "freshness": {
        "timeline": {"topic": "crm.contacts", "position": {"0": 7}, "age_seconds": 1.25, "stale": False},
        "tickets": {"topic": "crm.service", "position": {}, "age_seconds": 7200.0, "stale": True},
    },
}


def _shown(as_of: datetime | None = None, **changed: Any) -> str:
    console = Console(file=StringIO(), width=160)
    console.print(render(CustomerView.model_validate(_ANNA | changed), _NOW, as_of))
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def _line_with(text: str, shown: str) -> str:
    (line,) = [line for line in shown.splitlines() if text in line]
    return line


def test_the_page_begins_with_who_it_is() -> None:
    shown = _shown()
    assert "Anna Weber" in shown.splitlines()[0]
    assert "email anna@example.org  phone +441134960000" in shown
    assert "Oak Street Garage" in shown
    assert "1 Mill Road, YO1 7HH York, GB" in shown
    assert "known since 2025-03-04 09:00 (1 year ago), first from staff" in shown


def test_a_page_of_the_past_says_as_of_when_it_is_and_that_it_tells_what_was_known_then() -> None:
    asked = question("anna@example.org").at("2026-03-02T10:30:00.250+01:00")
    assert asked.parameters == {"email": "anna@example.org", "at": "2026-03-02T10:30:00.250+01:00"}
    shown = _shown(asked.as_of)
    assert "as of 2026-03-02T09:30:00.250Z: what was known then" in shown.split("╰")[0]


def test_a_page_of_the_present_speaks_of_no_other_moment() -> None:
    shown = _shown(question("anna@example.org").as_of)
    assert "as of" not in shown


def test_totals_are_one_line() -> None:
    assert "2 interactions · 1 order · 1,234.50 GBP · last contact 2 hours ago" in _shown()


def test_what_is_open_stands_before_what_is_closed() -> None:
    shown = _shown()
    assert shown.index("Is there a trial?") < shown.index("converted")
    assert "closed 1 week ago" in _line_with("lost (price)", shown)
    assert "tom.becker, 1 reply" in _line_with("Cannot sign in", shown)


def test_the_timeline_is_newest_first_with_both_dates() -> None:
    shown = _shown()
    assert shown.index("I am looking into it.") < shown.index("Yes [bold]please") < shown.index("Repeat order")
    reply = _line_with("I am looking into it.", shown)
    assert "30 minutes ago" in reply
    assert "2026-03-04 15:00" in reply
    assert "→" in reply
    assert "1,234.50 GBP · Repeat order" in shown


def test_an_answer_names_the_campaign_that_it_answers() -> None:
    assert "answers Open house" in _line_with("Yes [bold]please", _shown())


def test_a_section_with_stale_sources_says_so() -> None:
    assert "Newest fact seen: timeline 1.2 s old, tickets 2 h old (stale)" in _shown()


def test_an_erased_customer_is_shown_without_personal_data() -> None:
    shown = _shown(erased=True, profile=None, identifiers=[], leads=[{**_ANNA["leads"][1], "inquiry": None}])
    assert "Erased" in shown
    assert "anna@example.org" not in shown
    assert "referral" in shown


def test_a_customer_of_whom_only_the_id_is_known_has_a_page_too() -> None:
    nothing = {"orders": 0, "revenue": {}, "interactions": 0, "last_contact_at": None}
    bare: dict[str, Any] = {
        "profile": None,
        "identifiers": [],
        "registered_at": None,
        "timeline": {"items": [], "next": None},
    }
    shown = _shown(**bare, leads=[], opportunities=[], tickets=[], campaigns=[], totals=nothing, freshness={})
    assert "Not yet known by name" in shown
    assert "Nothing has happened yet." in shown


def test_what_others_wrote_cannot_command_the_terminal() -> None:
    hostile = {**_ANNA["timeline"]["items"][0], "content": {"subject": "\x1b[2Jgone\u202e\nnext\x07"}}
    shown = _shown(timeline={"items": [hostile], "next": None})
    assert "\x1b" not in shown
    assert "[2Jgone next" in _line_with("gone", shown)


@given(st.text())
def test_text_of_others_is_one_printable_line_of_bounded_length(text: str) -> None:
    shown = plain(text, most=40)
    assert len(shown) <= 40
    assert shown == "" or shown.isprintable()


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=23), "23 hours ago"),
        (timedelta(days=13), "1 week ago"),
        (timedelta(days=400), "1 year ago"),
        (timedelta(days=-2), "in 2 days"),
    ],
)
def test_a_distance_in_time_is_told_in_its_largest_unit(distance: timedelta, words: str) -> None:
    assert ago(_NOW - distance, _NOW) == words


@pytest.mark.parametrize(
    ("who", "parameters"),
    [
        ("anna@example.org", {"email": "anna@example.org"}),
        ("+44 113 496 0000", {"phone": "+44 113 496 0000"}),
        ("@anna_weber1", {"handle": "@anna_weber1"}),
        ("cdnow:0001", {"handle": "cdnow:0001"}),
    ],
)
def test_a_customer_is_asked_for_by_what_the_word_looks_like(who: str, parameters: dict[str, str]) -> None:
    asked = question(who)
    assert (asked.path, asked.parameters) == ("/api/customers", parameters)


def test_a_phone_number_that_is_not_found_is_asked_for_with_its_country_code() -> None:
    assert "country code" in question("0113 496 0000").words
    assert "country code" not in question("+44 113 496 0000").words


def test_a_customer_is_asked_for_by_id() -> None:
    asked = question(" 6F6B7AD2-6a0e-5a35-9d5e-6d0f2f3c1b11 ")
    assert (asked.path, asked.parameters) == ("/api/customers/6f6b7ad2-6a0e-5a35-9d5e-6d0f2f3c1b11", {})
