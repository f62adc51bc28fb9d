"""Which JSON lines are records of the contract, and how they travel."""

import json
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured_event
from hypothesis import given
from hypothesis import strategies as st

from crm_events import REGISTRY
from crm_events.adapter import InteractionRecorded, PersonDescribed
from crm_events.envelope import from_document
from crm_local.publish.json_lines import read_json_lines
from crm_local.publish.lines import read_lines
from crm_local.publish.message import to_message
from crm_local.publish.outcome import Outcome, Refused, Taken
from crm_local.publish.refusal import LineRefusedError

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_MAIL: dict[str, Any] = {
    "external_id": "<1@example.org>",
    "occurred_at": "2026-01-02T09:30:00+01:00",
    "channel": "email",
    "direction": "inbound",
    "party": {"email": "anna@example.org"},
    "subject": "Hello",
}


def _read(*lines: bytes) -> list[Outcome]:
    return list(read_json_lines(read_lines(BytesIO(b"\n".join(lines)))))


def _only(members: dict[str, Any]) -> Outcome:
    (outcome,) = _read(json.dumps(members).encode())
    return outcome


def _record(members: dict[str, Any]) -> InteractionRecorded | PersonDescribed:
    outcome = _only(members)
    assert isinstance(outcome, Taken)
    assert isinstance(outcome.record, InteractionRecorded | PersonDescribed)
    return outcome.record


def test_a_line_is_an_interaction_unless_it_says_otherwise() -> None:
    assert isinstance(_record(_MAIL), InteractionRecorded)
    assert isinstance(_record(_MAIL | {"type": "InteractionRecorded"}), InteractionRecorded)
    person = {"type": "PersonDescribed", "external_id": "7", "occurred_at": "2026-01-02T00:00:00Z", "given_name": "Ada"}
    assert isinstance(_record(person), PersonDescribed)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"type": "LeadCaptured"}, "type: must be one of InteractionRecorded, PersonDescribed"),
        ({"type": ["InteractionRecorded"]}, "type: must be one of"),
        ({"colour": "private"}, "colour: Extra inputs are not permitted"),
        ({"external_id": 7}, "external_id: Input should be a valid string"),
        ({"channel": "private"}, "channel: Input should be 'email', 'call'"),
        ({"party": None}, "party: "),
        ({"party": {}}, "party: a party needs one of contact_id, email"),
        ({"occurred_at": "private"}, "occurred_at: "),
        ({"occurred_at": "2026-01-02T09:30:00"}, "occurred_at: Input should have timezone info"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at: "),
        ({"channel": "order", "attributes": {"amount": "private", "currency": "USD"}}, "record: attributes.amount: "),
        ({"attributes": {"campaign_id": "private"}}, "record: attributes.campaign_id: "),
        ({"body": "x" * 200_001}, "body: String should have at most 200000 characters"),
        ({"subject": "private\x07"}, "subject: Input should be one line of text, without control characters"),
    ],
)
def test_a_record_outside_the_contract_is_refused_without_repeating_its_values(
    changed: dict[str, Any], reason: str
) -> None:
    outcome = _only(_MAIL | changed)
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith(reason)
    assert "private" not in outcome.reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"external_id": "private",', "not JSON: it ends in the middle"),
        (b'["private"]', "not a JSON object"),
        (b"nope", "not JSON: cannot be read from character 2 on"),
        ('{"é": private}'.encode(), "not JSON: cannot be read from character 7 on"),
        (b'{"external_id": NaN}', "not JSON: cannot be read from character 17 on"),
        (b'{"external_id": "private\xff"}', "not UTF-8: byte 25"),
        (b"[" * 10_000, "not JSON: nested too deeply"),
        (b'{"body": "' + b"x" * 262_144 + b'"}', "longer than 262144 bytes"),
    ],
)
def test_a_line_that_is_no_json_object_is_refused_and_the_next_is_taken(line: bytes, reason: str) -> None:
    refused, taken = _read(line, json.dumps(_MAIL).encode())
    assert isinstance(refused, Refused)
    assert refused.line.number == 1
    assert refused.reason.startswith(reason)
    assert "private" not in refused.reason
    assert isinstance(taken, Taken)


@given(st.binary(max_size=300))
def test_no_line_stops_the_run(content: bytes) -> None:
    for outcome in _read(content):
        assert isinstance(outcome, Refused)


def test_what_is_published_is_a_cloudevents_document_that_the_platform_reads() -> None:
    record = _record(_MAIL)
    message = to_message(record, "mail", _NOW)
    event = from_document(json.loads(message.value), REGISTRY)
    assert event.data == record
    assert event.source == "/adapters/mail"
    assert event.id == record.identity("/adapters/mail")
    assert message.key == b"/adapters/mail/<1@example.org>"
    assert dict(message.headers) == {
        "content-type": b"application/cloudevents+json",
        "ce_type": b"crm.interactions.InteractionRecorded.v1",
        "ce_id": str(event.id).encode(),
    }


def test_another_implementation_of_cloudevents_reads_the_message_too() -> None:
    message = to_message(_record(_MAIL), "mail", _NOW)
    received = KafkaMessage(headers=dict(message.headers), key=message.key, value=message.value)
    event = from_structured_event(received)
    assert event.get_source() == "/adapters/mail"
    assert event.get_type() == "crm.interactions.InteractionRecorded.v1"
    assert event.get_time() == _NOW


def test_a_record_that_grows_too_long_in_its_envelope_is_refused() -> None:
    attributes = {f"a{number}": "x" * 1_300 for number in range(64)}
    record = InteractionRecorded.model_validate(_MAIL | {"body": "x" * 180_000, "attributes": attributes})
    with pytest.raises(LineRefusedError, match="262144 is the most"):
        to_message(record, "mail", _NOW)
