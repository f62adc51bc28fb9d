"""What a subscriber may ask for, and that a cursor is good for that only."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_gateway.subscriptions.cursors import CustomerCursor, LogCursor, Standing, SubscriptionCursors
from crm_gateway.subscriptions.event_filter import KNOWN, EventFilter, UnknownEventType
from crm_gateway.subscriptions.start import Start
from crm_platform.errors import Malformed, NotYetHappened
from crm_platform.testing import SOME_TIME

KEY = bytes(range(32))
SOMEBODY = "00000000-0000-4000-8000-000000000001"
positions = st.dictionaries(
    st.sampled_from(["crm.contacts", "crm.sales"]),
    st.dictionaries(st.integers(0, 5), st.integers(0, 2**62), min_size=1),
)
standings = st.builds(Standing, st.integers(0, 2**62), st.integers(-1, 2**62))
log_cursors = st.builds(
    LogCursor, st.dictionaries(st.just("crm.sales"), st.dictionaries(st.integers(0, 5), standings)), st.none()
)
customer_cursors = st.builds(
    CustomerCursor, positions, st.none() | positions, st.tuples(st.integers(0, 4), st.integers(0, 9)), st.none()
)
filters = st.builds(
    EventFilter,
    st.lists(st.sampled_from(sorted(KNOWN)), max_size=2, unique=True).map(lambda types: tuple(sorted(types))),
    st.none() | st.just(SOMEBODY),
)


@given(log_cursors | customer_cursors, filters, st.text())
def test_a_cursor_comes_back_as_it_was(cursor: LogCursor | CustomerCursor, asked: EventFilter, subject: str) -> None:
    cursors = SubscriptionCursors(KEY, subject, asked)
    assert cursors.read(cursors.write(cursor)) == cursor


@given(log_cursors | customer_cursors, filters, filters, st.sampled_from("ab"), st.sampled_from("ab"))
def test_a_cursor_is_nobody_elses_and_no_other_filters(
    cursor: LogCursor | CustomerCursor, asked: EventFilter, other: EventFilter, subject: str, somebody: str
) -> None:
    written = SubscriptionCursors(KEY, subject, asked).write(cursor)
    if (asked, subject) != (other, somebody):
        with pytest.raises(Malformed, match="begin anew"):
            SubscriptionCursors(KEY, somebody, other).read(written)


@given(log_cursors | customer_cursors, st.data())
def test_an_altered_cursor_is_refused(cursor: LogCursor | CustomerCursor, data: st.DataObject) -> None:
    cursors = SubscriptionCursors(KEY, "a", EventFilter())
    written = cursors.write(cursor)
    at = data.draw(st.integers(0, len(written) - 1))
    altered = written[:at] + data.draw(st.sampled_from("Az09-_ü \n").filter(lambda c: c != written[at]))
    for wrong in (altered, altered + written[at + 1 :], written[:at]):
        with pytest.raises(Malformed, match="begin anew"):
            cursors.read(wrong)


def test_types_are_named_in_three_ways() -> None:
    asked = EventFilter.of(["crm.sales.LeadCaptured", "crm.service.TicketOpened.v1", "crm.contacts.Party*"], None)
    assert {name for name in KNOWN if asked.passes(name)} == {
        "crm.sales.LeadCaptured.v1",
        "crm.service.TicketOpened.v1",
        "crm.contacts.PartyResolved.v1",
        "crm.contacts.PartyUnknown.v1",
    }
    assert asked.passes("crm.sales.LeadCaptured.v7"), "a version of tomorrow"
    assert not asked.passes("crm.service.TicketOpened.v7")
    assert {place.topic for place in asked.places} == {"crm.contacts", "crm.sales", "crm.service"}
    assert all(EventFilter().passes(name) for name in KNOWN)


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("crm.sales.LeadCatpured", "crm.sales.LeadCaptured"),
        ("LeadQualified", "crm.sales.LeadQualified"),
        ("crm.service.Tiket*", "crm.service.Ticket"),
        ("crm.interactions.InteractionReceived", "crm.contacts.InteractionLogged"),
        ("v1", "crm."),
        ("", "crm."),
    ],
)
def test_an_unknown_type_is_refused_with_the_nearest(wanted: str, nearest: str) -> None:
    with pytest.raises(UnknownEventType, match=nearest):
        EventFilter.of(["crm.sales.*", wanted], None)


def test_a_start_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(NotYetHappened):
        Start.of(datetime.now(UTC) + timedelta(minutes=1), None)
    for wrong in ("crm.sales/6@1", "crm.keys/0@1", "crm.sales/0@", "crm.sales/0@-1", SOMEBODY, f"{SOMEBODY}@1"):
        with pytest.raises(Malformed):
            Start.of(None, wrong)
    with pytest.raises(Malformed):
        Start.of(None, " ".join(["crm.sales/0@1"] * 65))


def test_the_highest_of_several_positions_in_a_partition_counts() -> None:
    start = Start.of(SOME_TIME, f"crm.sales/3@479 {SOMEBODY}@1 crm.sales/3@12")
    assert [(place.topic, place.partition, at) for place, at in start.positions.items()] == [("crm.sales", 3, 479)]
    assert start.since == int(SOME_TIME.timestamp() * 1000)
