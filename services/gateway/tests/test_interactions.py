"""Interactions over HTTP are read one by one, and become the records that adapters write themselves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from crm_events import REGISTRY
from crm_events.adapter import InteractionRecorded
from crm_events.envelope import from_document
from crm_events.topics import MAX_RECORD_BYTES
from crm_gateway.interactions import Envelope, LogRecord, RefusedInteraction, read_interaction
from crm_platform.work import CLOCK_SKEW

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
ENVELOPE = Envelope(source="mail-adapter", now=NOW, actor="adapter-1", request="request-1")
MAIL: dict[str, Any] = {
    "external_id": "m-1",
    "occurred_at": "2026-03-01T10:00:00+01:00",
    "channel": "email",
    "direction": "inbound",
    "party": {"email": "ann@example.org"},
    "subject": "Hello",
}


def accepted(item: Any) -> LogRecord:
    match read_interaction(0, item, ENVELOPE):
        case (_, record):
            return record
        case refused:
            pytest.fail(f"refused: {refused}")


def refused(item: Any) -> RefusedInteraction:
    result = read_interaction(7, item, ENVELOPE)
    if isinstance(result, tuple):
        pytest.fail(f"accepted: {result[0]}")
    assert result["index"] == 7
    return result


def test_an_interaction_carries_the_trace_of_its_request_where_there_is_one() -> None:
    context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    match read_interaction(0, MAIL, replace(ENVELOPE, traceparent=context)):
        case (_, record):
            assert dict(record.headers)["traceparent"] == context.encode()
            assert from_document(orjson.loads(record.value), REGISTRY).traceparent == context
        case refused:
            pytest.fail(f"refused: {refused}")
    untraced = accepted(MAIL)
    assert "traceparent" not in dict(untraced.headers)
    assert b"traceparent" not in untraced.value


def test_an_interaction_becomes_the_record_that_an_adapter_would_write() -> None:
    record = accepted(MAIL)

    recorded = from_document(orjson.loads(record.value), REGISTRY)
    assert recorded.data == InteractionRecorded.model_validate(MAIL)
    assert (recorded.source, recorded.actor, recorded.time) == ("mail-adapter", "adapter-1", NOW)
    assert record.key == b"mail-adapter/m-1"
    assert dict(record.headers)["content-type"] == b"application/cloudevents+json"


def test_the_receipt_names_the_interaction_as_the_timeline_will() -> None:
    match read_interaction(3, MAIL, ENVELOPE):
        case (receipt, record):
            identity = from_document(orjson.loads(record.value), REGISTRY).subject
            assert receipt == {"index": 3, "external_id": "m-1", "accepted": True, "id": identity}
        case other:
            pytest.fail(f"refused: {other}")


def test_a_refusal_names_each_member_that_is_wrong_and_not_its_value() -> None:
    result = refused({**MAIL, "channel": "telepathy", "occurred_at": "yesterday", "surprise": "ann@example.org"})

    assert result["external_id"] == "m-1"
    assert {error["pointer"] for error in result["errors"]} == {"/channel", "/occurred_at", "/surprise"}
    assert not any("telepathy" in error["message"] or "ann@" in error["message"] for error in result["errors"])


@pytest.mark.parametrize("item", [None, 17, "mail", [], [MAIL]])
def test_what_is_no_object_is_refused(item: Any) -> None:
    result = refused(item)

    assert result["errors"] == [{"pointer": "", "message": "Input should be an object"}]
    assert result["external_id"] is None


def test_an_interaction_without_anybody_in_it_is_refused() -> None:
    assert refused({**MAIL, "party": {}})["errors"][0]["pointer"] == "/party"


def test_an_interaction_of_the_future_is_refused_but_for_what_clocks_differ() -> None:
    latest = NOW + CLOCK_SKEW

    accepted({**MAIL, "occurred_at": latest.isoformat()})
    result = refused({**MAIL, "occurred_at": (latest + timedelta(milliseconds=1)).isoformat()})

    (error,) = result["errors"]
    assert error["pointer"] == "/occurred_at"
    assert "more than 5 minutes in the future" in error["message"]


def test_a_control_character_is_refused_in_words() -> None:
    result = refused({**MAIL, "subject": "Order\x07", "body": "\x1b[2J"})

    assert {error["pointer"]: error["message"] for error in result["errors"]} == {
        "/subject": "Input should be one line of text, without control characters",
        "/body": "Input should be text without control characters other than tabs and line ends",
    }


def test_an_order_needs_an_amount_and_a_currency() -> None:
    order = {**MAIL, "channel": "order"}

    refused(order)
    refused({**order, "attributes": {"amount": "1.999", "currency": "EUR"}})
    accepted({**order, "attributes": {"amount": "-1.99", "currency": "EUR"}})


def test_a_record_is_bounded_by_its_bytes_not_its_letters() -> None:
    fits = {**MAIL, "body": "x" * (200_000)}
    too_long = {**MAIL, "body": "ü" * (MAX_RECORD_BYTES // 2)}

    accepted(fits)
    assert "bytes" in refused(too_long)["errors"][0]["message"]


def test_deep_nesting_is_refused_unread() -> None:
    deep: Any = "bottom"
    for _ in range(900):
        deep = {"further": deep}

    (error,) = refused({**MAIL, "attributes": deep})["errors"]

    assert "levels deep" in error["message"]
