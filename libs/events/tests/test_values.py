"""The values that events are made of."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from crm_events.adapter import InteractionRecorded, PersonDescribed
from crm_events.contacts import InteractionLogged
from crm_events.event import Event, Instant, Personal, written
from crm_events.parties import Money, Note, OrderValue, Party, Profile
from crm_events.sales import LeadCaptured, LeadQualified, OpportunityTitle, OpportunityWon

INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def interaction(**members: Any) -> InteractionRecorded:
    given_members = {"external_id": "7", "channel": "web", "direction": "inbound", "party": {"cookie": "c"}, **members}
    return InteractionRecorded.model_validate({"occurred_at": NOW, **given_members})


# -- moments


@given(st.datetimes(timezones=st.timezones()))
def test_an_instant_is_utc_to_the_millisecond(moment: datetime) -> None:
    try:
        instant = INSTANT.validate_python(moment)
    except ValidationError:
        assert moment.year in (1, 9999)
        return

    assert instant.tzinfo is UTC
    assert instant.microsecond % 1000 == 0
    assert timedelta(0) <= moment - instant < timedelta(milliseconds=1)


@given(st.datetimes())
def test_a_moment_without_a_zone_is_refused(moment: datetime) -> None:
    with pytest.raises(ValidationError, match="timezone"):
        INSTANT.validate_python(moment)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_outside_the_calendar_is_refused(moment: str) -> None:
    with pytest.raises(ValidationError, match="years 1 to 9999"):
        INSTANT.validate_python(moment)


ANY_DATE = st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-W[0-9]{2}-[0-9]", fullmatch=True)
ANY_TIME = st.from_regex(r"[0-9]{2}(:?)[0-9]{2}\1[0-9]{2}([.,][0-9]{1,9})?", fullmatch=True)


@given(st.one_of(st.dates().map(str), ANY_DATE), st.one_of(st.times().map(str), ANY_TIME))
def test_a_moment_in_utc_is_read_alike_in_every_notation(date: str, time: str) -> None:
    """What we write ourselves is read in a way of its own, an offset of zero in the general one."""
    try:
        expected = INSTANT.validate_python(f"{date}T{time}+00:00")
    except ValidationError:
        with pytest.raises(ValidationError):
            INSTANT.validate_python(f"{date}T{time}Z")
    else:
        assert INSTANT.validate_python(f"{date}T{time}Z") == expected


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_of_an_instant_is_read_as_the_same(moment: datetime) -> None:
    instant = INSTANT.validate_python(moment)

    assert INSTANT.validate_python(written(instant)) == instant
    assert INSTANT.validate_json(INSTANT.dump_json(instant)) == instant


# -- money


@given(st.integers(0, 10**15 - 1))
def test_minor_units_are_exact(cents: int) -> None:
    money = Money(amount=Decimal(cents).scaleb(-2), currency="EUR")

    assert money.minor_units == cents
    assert Money.model_validate_json(money.model_dump_json()).minor_units == cents


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_a_return_is_negative_and_exact(cents: int) -> None:
    assert OrderValue(amount=Decimal(cents).scaleb(-2), currency="EUR").minor_units == cents


@pytest.mark.parametrize(("amount", "cents"), [(1000.0, 100_000), ("19.9", 1_990), ("-0", 0), (5, 500)])
def test_the_notation_of_an_amount_does_not_matter(amount: str | float, cents: int) -> None:
    assert Money.model_validate({"amount": amount, "currency": "EUR"}).minor_units == cents


@pytest.mark.parametrize("amount", ["0.001", "-0.01", "NaN", "Infinity", "1e15", "1E+3", "1_000", "٣", " 2 ", "", None])
def test_an_amount_that_is_none_is_refused(amount: str | None) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate({"amount": amount, "currency": "EUR"})


# -- adapters' records


@pytest.mark.parametrize(
    "attributes", [{}, {"amount": "19.99"}, {"currency": "EUR"}, {"amount": "x", "currency": "EUR"}]
)
def test_an_order_needs_amount_and_currency(attributes: dict[str, Any]) -> None:
    assert interaction(channel="web", attributes=attributes).order_value() is None
    with pytest.raises(ValidationError):
        interaction(channel="order", attributes=attributes)


def test_an_order_is_worth_what_its_attributes_say() -> None:
    order = interaction(channel="order", attributes={"amount": "-19.99", "currency": "EUR"})

    assert order.order_value() == OrderValue(amount=Decimal("-19.99"), currency="EUR")


def test_a_campaign_is_named_by_its_id() -> None:
    campaign = uuid4()

    assert interaction(attributes={"campaign_id": str(campaign)}).campaign_id() == campaign
    with pytest.raises(ValidationError):
        interaction(attributes={"campaign_id": "spring"})


@given(st.text(min_size=3), st.data())
def test_no_other_source_and_external_id_have_the_same_identity(text: str, data: st.DataObject) -> None:
    one, other = data.draw(st.tuples(*[st.integers(0, len(text) - 1)] * 2))
    assume(one != other)

    # The same characters, cut at different places; with and without the separators that are put between them.
    for source, another in ((text[:one], text[:other]), (f"{one}:{text[:one]}:", f"{other}:{text[:other]}:")):
        first, second = interaction(external_id=text[one:]), interaction(external_id=text[other:])
        assert first.identity(source) != second.identity(another)


@given(st.text(), st.text(min_size=1, max_size=256))
def test_a_person_and_an_interaction_never_share_an_identity(source: str, external_id: str) -> None:
    person = PersonDescribed(occurred_at=NOW, external_id=external_id, family_name="Lovelace")

    assert person.identity(source) != interaction(external_id=external_id).identity(source)


@pytest.mark.parametrize("party", [{}, {"name": " "}, {"name": None}, {"surname": "Lovelace"}])
def test_a_party_names_somebody(party: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Party.model_validate(party)


def test_identifiers_come_strongest_first() -> None:
    party = Party(cookie="c", handle="@ada", phone="+49301234567", email="ada@example.org", name="Ada")

    assert [identifier.kind.value for identifier in party.identifiers()] == ["email", "phone", "handle", "cookie"]


# -- personal blocks


def test_an_event_has_one_personal_block_at_most() -> None:
    with pytest.raises(TypeError, match="2 personal blocks"):

        class TwoBlocks(Event):
            context: ClassVar[str] = "tests"
            note: Personal[Note]
            title: Personal[OpportunityTitle] | None = None


def test_an_event_without_a_personal_block_says_so() -> None:
    qualified = LeadQualified(occurred_at=NOW, score=50)

    assert qualified.personal is None
    with pytest.raises(TypeError, match="no personal block"):
        qualified.with_personal(Note(text="x"))
    with pytest.raises(TypeError, match="no personal block"):
        LeadQualified.personal_class()


@given(st.from_type(LeadCaptured), st.from_type(InteractionLogged), st.from_type(OpportunityWon), st.uuids())
def test_the_data_subject_is_whoever_the_event_is_about(
    lead: LeadCaptured, logged: InteractionLogged, won: OpportunityWon, stream: UUID
) -> None:
    assert lead.data_subject(stream) == stream
    assert logged.data_subject(stream) == logged.contact_id
    assert won.data_subject(stream) == won.lead_id


@pytest.mark.parametrize("written", [0, -1, 1_700_000_000, "1700000000", "2026-03-02", "2026-03-02T09:30:00", ""])
def test_a_moment_is_written_with_date_time_and_zone(written: object) -> None:
    with pytest.raises(ValidationError):
        LeadQualified.model_validate({"score": 1, "occurred_at": written})


@pytest.mark.parametrize("written", [0, "0", "20260302", "2026-03-02T00:00:00Z"])
def test_a_birth_date_is_a_day_of_the_calendar(written: object) -> None:
    with pytest.raises(ValidationError):
        Profile.model_validate({"birth_date": written})


@pytest.mark.parametrize("name", ["\u0000", "Ann\nBcc: all", "\x1b[2J", "   "])
def test_a_name_is_one_line_of_text(name: str) -> None:
    with pytest.raises(ValidationError):
        Party.model_validate({"name": name})
