"""Whatever comes in, a reader answers with an event or with one of two errors, and tells no secret."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_events import EVENTS, REGISTRY
from crm_events.adapter import InteractionRecorded
from crm_events.contacts import ContactRegistered
from crm_events.envelope import Recorded, UnknownEventError, UnreadableEventError, event_id, from_document, to_document
from crm_events.event import Event, Sealed
from crm_events.parties import Money
from crm_events.sales import LeadQualified, OpportunityWon

Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
MEMBERS = ("source", "subject", "id", "time", "sequence", "actor", "correlationid", "causationid", "data")
CANARY = "ada.lovelace@example.org"


def read(document: Any) -> Recorded[Event] | None:
    """What a consumer does: any other exception than these two would end it."""
    with suppress(UnknownEventError, UnreadableEventError):
        return from_document(document, REGISTRY)
    return None


def document_of(event: Event) -> dict[str, Any]:
    stream = uuid4()
    identity = event_id(stream, 3)
    if isinstance(event.personal, Sealed):
        event = event.with_personal(event.personal.model_copy(update={"event": identity}))
    written = Recorded(
        identity, "/crm/tests", stream, 3, datetime(2026, 3, 1, tzinfo=UTC), "ada", "story", "why", event
    )
    document: dict[str, Any] = json.loads(json.dumps(to_document(written)))
    return document


def interaction(**members: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": InteractionRecorded.type_name(),
        "source": "/adapters/mail",
        "id": "7",
        "time": "2026-03-01T10:00:00Z",
        "data": {
            "occurred_at": "2026-03-01T09:59:00+01:00",
            "external_id": "7",
            "channel": "email",
            "direction": "inbound",
            "party": {"email": "ada@example.org"},
            **members,
        },
    }


def refusal(document: Mapping[str, Any]) -> str:
    with pytest.raises(UnreadableEventError) as refused:
        from_document(document, REGISTRY)
    return str(refused.value)


@given(Json)
def test_no_json_value_breaks_a_reader(value: Any) -> None:
    assert read(value) is None


@given(st.sampled_from([event.type_name() for event in EVENTS]), st.dictionaries(st.sampled_from(MEMBERS), Json))
def test_no_document_of_a_known_type_breaks_a_reader(type_name: str, members: dict[str, Any]) -> None:
    read({**members, "type": type_name})


@given(st.data())
def test_no_damaged_document_breaks_a_reader(data: st.DataObject) -> None:
    document = document_of(data.draw(st.one_of([st.from_type(event) for event in EVENTS])))
    part = document["data"] if data.draw(st.booleans()) else document
    name = data.draw(st.sampled_from(sorted(part)))
    if data.draw(st.booleans()):
        del part[name]
    else:
        part[name] = data.draw(Json)

    event = read(document)

    if event is not None:
        texts = (event.source, event.actor, event.correlation, event.causation)
        assert all(isinstance(text, str) for text in texts)
        assert isinstance(event.id, UUID)
        assert isinstance(event.subject, UUID)
        assert event.time.utcoffset() is not None
        assert event.sequence >= 0


@pytest.mark.parametrize("attribute", ["type", "source", "time", "data"])
def test_a_missing_attribute_is_named(attribute: str) -> None:
    document = interaction()
    del document[attribute]

    assert refusal(document) == f"attribute {attribute!r} is missing from the CloudEvents document"


@pytest.mark.parametrize("attribute", ["id", "subject", "sequence"])
def test_a_missing_place_of_an_event_of_ours_is_named(attribute: str) -> None:
    document = document_of(LeadQualified(occurred_at=datetime(2026, 3, 1, tzinfo=UTC), score=80))
    del document[attribute]

    assert refusal(document) == f"attribute {attribute!r} is missing from the CloudEvents document"


@pytest.mark.parametrize("attribute", ["type", "source", "time", "actor", "correlationid", "causationid"])
@pytest.mark.parametrize("value", [None, 5, ["/adapters/mail"], {"a": 1}])
def test_an_attribute_that_is_no_text_is_refused(attribute: str, value: object) -> None:
    assert attribute in refusal({**interaction(), attribute: value})


@pytest.mark.parametrize("sequence", ["0", "-1", "1.5", "three", "", 3, None])
def test_an_event_of_ours_has_a_sequence_from_one(sequence: object) -> None:
    document = {
        **document_of(LeadQualified(occurred_at=datetime(2026, 3, 1, tzinfo=UTC), score=80)),
        "sequence": sequence,
    }

    assert "sequence" in refusal(document)


def test_an_adapters_own_id_subject_and_sequence_say_nothing() -> None:
    event = from_document({**interaction(), "id": "", "subject": "mailbox", "sequence": "x"}, REGISTRY)

    assert isinstance(event.data, InteractionRecorded)
    assert event.id == event.subject == event.data.identity("/adapters/mail")
    assert event.sequence == 0


def test_an_adapter_does_not_speak_as_a_service_of_the_platform() -> None:
    assert "one of the platform's own: name the adapter" in refusal({**interaction(), "source": "/crm/sales"})


def test_a_member_that_a_later_release_added_is_passed_over_at_any_depth() -> None:
    event = OpportunityWon(
        lead_id=uuid4(), value=Money(amount=Decimal("12.50"), currency="EUR"), occurred_at=datetime.now(UTC)
    )
    document = document_of(event)
    document["data"]["value"]["rounded"] = True
    document["data"]["approved_by"] = "someone"
    assert from_document(document, REGISTRY).data == event


def test_an_unknown_type_is_told_apart_from_a_broken_document() -> None:
    with pytest.raises(UnknownEventError) as unknown:
        from_document({**interaction(), "type": "crm.sales.LeadAdmired.v1"}, REGISTRY)

    assert unknown.value.type_name == "crm.sales.LeadAdmired.v1"


@pytest.mark.parametrize(
    "members",
    [
        {"channel": CANARY},
        {"party": {"contact_id": CANARY}},
        {"occurred_at": CANARY},
        {"channel": "order", "attributes": {"amount": CANARY, "currency": "EUR"}},
        {"attributes": {"campaign_id": CANARY}},
        {"surname": CANARY},
    ],
)
def test_a_refusal_never_repeats_a_value(members: dict[str, Any]) -> None:
    assert CANARY not in refusal(interaction(**members))


def test_a_refusal_can_be_logged_and_stored_whatever_an_adapter_called_its_members() -> None:
    reason = refusal(interaction(**{"\x00\n\x1b[31m": 1}, **{f"unknown{n}": n for n in range(500)}))

    assert reason.isprintable()
    assert len(reason) <= 1_000


def test_a_block_sealed_for_another_event_is_refused() -> None:
    block = Sealed(event=uuid4(), subject=uuid4(), key=uuid4(), box="AAAA")
    document = document_of(
        ContactRegistered(occurred_at=datetime(2026, 3, 1, tzinfo=UTC), source="mail", profile=block)
    )
    assert from_document(document, REGISTRY).data.personal is not None

    document["data"]["profile"]["event"] = str(uuid4())

    assert "sealed for another event" in refusal(document)
