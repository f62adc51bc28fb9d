"""Every event survives the wire, and others read our documents as we do."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from crm_events import EVENTS, REGISTRY
from crm_events.adapter import AdapterRecord
from crm_events.envelope import STRUCTURED, Recorded, event_id, from_document, to_document
from crm_events.event import Event, Sealed
from crm_events.registry import Registry
from crm_events.sales import LeadQualified

every_event = pytest.mark.parametrize("event_class", EVENTS, ids=lambda event: event.type_name())


def recorded(event: Event, stream: UUID, sequence: int, time: datetime) -> Recorded[Event]:
    """The event as its owner records it: its place makes its id, a sealed block belongs to it."""
    if isinstance(event, AdapterRecord):
        source, sequence = "/adapters/tests", 0
        identity = subject = event.identity(source)
    else:
        source, identity, subject = "/crm/tests", event_id(stream, sequence), stream
    if isinstance(event.personal, Sealed):
        event = event.with_personal(event.personal.model_copy(update={"event": identity}))
    return Recorded(identity, source, subject, sequence, time, "ada", "story", "cause", event)


def over_the_wire(event: Recorded[Event]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(to_document(event)))
    return document


@every_event
@given(data=st.data(), stream=st.uuids(), sequence=st.integers(1, 2**31))
def test_an_event_is_read_as_it_was_written(
    event_class: type[Event], data: st.DataObject, stream: UUID, sequence: int
) -> None:
    written = recorded(
        data.draw(st.from_type(event_class)), stream, sequence, datetime(2026, 3, 1, 9, 30, 0, 125_000, UTC)
    )

    assert from_document(over_the_wire(written), REGISTRY) == written


@every_event
@given(data=st.data())
def test_the_cloudevents_sdk_reads_the_same_attributes(event_class: type[Event], data: st.DataObject) -> None:
    written = recorded(data.draw(st.from_type(event_class)), uuid4(), 7, datetime(2026, 3, 1, tzinfo=UTC))
    document = to_document(written)
    message = KafkaMessage({"content-type": STRUCTURED.encode()}, None, json.dumps(document).encode())

    theirs = from_structured(message, JSONFormat())

    assert theirs.get_specversion() == "1.0"
    assert theirs.get_id() == str(written.id)
    assert theirs.get_source() == written.source
    assert theirs.get_type() == event_class.type_name()
    assert theirs.get_subject() == str(written.subject)
    assert theirs.get_time() == written.time
    assert theirs.get_datacontenttype() == "application/json"
    assert theirs.get_extension("sequence") == (str(written.sequence) if written.sequence else None)
    assert theirs.get_extension("correlationid") == written.correlation
    assert theirs.get_extension("causationid") == written.causation
    assert theirs.get_extension("actor") == written.actor
    assert theirs.get_data() == document["data"]


@every_event
@given(data=st.data())
def test_readers_are_tolerant_of_services_and_strict_with_adapters(
    event_class: type[Event], data: st.DataObject
) -> None:
    written = recorded(data.draw(st.from_type(event_class)), uuid4(), 1, datetime(2026, 3, 1, tzinfo=UTC))
    document = over_the_wire(written)
    document["data"]["added_by_a_later_release"] = {"more": [1, 2]}

    if issubclass(event_class, AdapterRecord):
        with pytest.raises(ValueError, match="added_by_a_later_release"):
            from_document(document, REGISTRY)
    else:
        assert from_document(document, REGISTRY) == written


def test_attributes_that_we_do_not_know_are_passed_over() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    written = recorded(LeadQualified(occurred_at=now, score=80), uuid4(), 2, now)
    document = {**over_the_wire(written), "tracestate": "vendor=1"}

    assert from_document(document, REGISTRY) == written


def test_an_event_keeps_the_trace_in_which_it_was_recorded() -> None:
    now, context = datetime(2026, 3, 1, tzinfo=UTC), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    traced = replace(recorded(LeadQualified(occurred_at=now, score=80), uuid4(), 2, now), traceparent=context)
    document = over_the_wire(traced)
    message = KafkaMessage({"content-type": STRUCTURED.encode()}, None, json.dumps(document).encode())

    assert from_document(document, REGISTRY) == traced
    assert from_structured(message, JSONFormat()).get_extension("traceparent") == context
    assert list(document).index("traceparent") < list(document).index("data")


def test_type_names_are_unique_and_name_context_and_version() -> None:
    names = [event.type_name() for event in EVENTS]

    assert len(set(names)) == len(names)
    assert all(name == f"crm.{e.context}.{e.__name__}.v{e.version}" for name, e in zip(names, EVENTS, strict=True))
    with pytest.raises(ValueError, match="two events are named"):
        Registry([EVENTS[0], type(EVENTS[0].__name__, (EVENTS[0],), {})])


@given(st.uuids(), st.integers(1, 2**31), st.integers(1, 2**31))
def test_the_id_of_an_event_follows_from_its_place(stream: UUID, one: int, other: int) -> None:
    assert (event_id(stream, one) == event_id(stream, other)) == (one == other)
