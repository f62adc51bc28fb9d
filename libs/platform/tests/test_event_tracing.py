"""The trace of an event, told by plain values: stored bytes, headers, places."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from libs.platform.tests.shop import EVENTS, Customer, PurchaseMade, PurchaseNoted
from libs.platform.tests.spans import own_id, parent_id, trace_of, traced
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from crm_events.envelope import Recorded, from_document, to_document
from crm_events.event import Event
from crm_platform import event_tracing, tracing
from crm_platform.event_tracing import NOT_TRACED, processing, publishing, traceparent_of
from crm_platform.testing import SOME_TIME, recorded

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
CONTEXT = f"00-{TRACE}-{PARENT}-01"
OTHERS = "00-1111651916cd43dd8448eb211c80319c-1111111169203331-01"
ENDS = {("t.shop", 0): 10}


@dataclass
class Read:
    offset: int
    traceparent: str | None = CONTEXT
    topic: str = "t.shop"
    partition: int = 0
    headers: list[tuple[str, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = [("ce_type", b"crm.shop.PurchaseNoted.v1"), ("ce_position", b"7")]
        if self.traceparent is not None:
            self.headers.append(("traceparent", self.traceparent.encode()))


def _stored(event: Recorded[Event]) -> bytes:
    return orjson.dumps(to_document(event))


def _noted(text: str = "gift", **changed: Any) -> Recorded[Event]:
    return replace(recorded(PurchaseNoted(occurred_at=SOME_TIME, text=text)), **changed)


# -- the attribute in what is stored


def test_an_event_without_a_trace_is_stored_in_the_same_bytes_as_ever() -> None:
    assert _stored(_noted()) == (
        b'{"specversion":"1.0","id":"8d4035dc-2470-5da4-8dfe-3942ac4f1762","source":"/test",'
        b'"type":"crm.shop.PurchaseNoted.v1","subject":"00000000-0000-4000-8000-000000000001",'
        b'"time":"2026-03-02T09:30:00.000Z","datacontenttype":"application/json","correlationid":"story",'
        b'"causationid":"cause","actor":"test","data":{"occurred_at":"2026-03-02T09:30:00Z","text":"gift"},'
        b'"sequence":"1"}'
    )
    assert traceparent_of(_stored(_noted())) is None


def test_the_context_of_an_event_is_found_and_read_again() -> None:
    event = _noted(traceparent=CONTEXT)
    assert traceparent_of(_stored(event)) == CONTEXT.encode()
    assert from_document(orjson.loads(_stored(event)), EVENTS) == event


@given(text=st.text(), actor=st.text(), context=st.sampled_from([CONTEXT, None]))
def test_only_the_envelopes_own_attribute_is_found(text: str, actor: str, context: str | None) -> None:
    disguises = [text, f',"traceparent":"{OTHERS}"', f'","data":{{,"traceparent":"{OTHERS}"']
    for disguise in disguises:
        event = _noted(disguise, actor=actor + disguise, correlation=disguise, traceparent=context)
        assert traceparent_of(_stored(event)) == (context.encode() if context else None)


def test_a_member_of_that_name_within_the_data_is_not_the_envelopes() -> None:
    document = to_document(_noted()) | {"data": {"text": "x", "traceparent": OTHERS}}
    assert traceparent_of(orjson.dumps(document)) is None


@pytest.mark.parametrize(
    "malformed", [7, None, "", "00-0-0-01", CONTEXT.upper(), CONTEXT + "-x", CONTEXT.replace(PARENT, "0" * 16)]
)
def test_no_event_is_refused_for_a_malformed_context(malformed: object) -> None:
    document = to_document(_noted()) | {"traceparent": malformed}
    assert from_document(document, EVENTS) == _noted()


# -- publication


def test_each_traced_event_shows_its_publication_in_its_own_trace() -> None:
    with traced() as spans:
        with publishing("t.shop", [Read(0).headers, Read(1, None).headers, Read(2, OTHERS).headers]):
            assert not spans.all()
        first, second = spans.all()
    assert [trace_of(first), trace_of(second)] == [TRACE, OTHERS[3:35]]
    assert (first.name, first.kind, parent_id(first)) == ("publish t.shop", SpanKind.PRODUCER, PARENT)
    assert dict(first.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.destination.name": "t.shop",
        "messaging.operation.type": "send",
        "cloudevents.event_type": "crm.shop.PurchaseNoted.v1",
        "crm.position": 7,
    }


def test_what_is_published_again_joins_no_old_trace() -> None:
    with traced() as spans:
        with publishing("t.shop", [Read(0).headers], published_before=7):
            pass
        assert not spans.all()
        with publishing("t.shop", [Read(0).headers], published_before=6):
            pass
        assert len(spans.all()) == 1


def test_what_was_not_acknowledged_is_not_said_to_be_published() -> None:
    with traced() as spans, pytest.raises(OSError, match="away"), publishing("t.shop", [Read(0).headers]):
        raise OSError("away")
    assert not spans.all()


# -- consumption


def _applied(records: list[Read], applied: Iterable[Read] | None = None) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The batch's span, and those of its events."""
    with traced() as spans:
        with processing("purchases.v1", records, ENDS) as batch:
            batch.applied(records if applied is None else applied)
        (whole,) = spans.named("process purchases.v1")
        return whole, spans.named("apply purchases.v1")


def test_a_batch_links_to_its_events_and_each_shows_in_its_own_trace() -> None:
    batch, events = _applied([Read(10), Read(11), Read(12, OTHERS), Read(13, None)])
    assert (batch.kind, batch.parent) == (SpanKind.CONSUMER, None)
    assert [f"{link.context.span_id:016x}" for link in batch.links] == [PARENT, OTHERS[36:52]]
    assert [(trace_of(e), parent_id(e)) for e in events] == [(TRACE, PARENT)] * 2 + [(OTHERS[3:35], OTHERS[36:52])]
    assert {f"{link.context.span_id:016x}" for event in events for link in event.links} == {own_id(batch)}
    assert trace_of(batch) not in {TRACE, OTHERS[3:35]}


def test_a_replay_joins_no_old_trace() -> None:
    batch, events = _applied([Read(8), Read(9), Read(10, partition=1)])
    assert (len(batch.links), events) == (0, [])
    attributes = batch.attributes or {}
    assert (attributes["messaging.batch.message_count"], attributes["crm.live_traced_records"]) == (3, 0)


def test_an_event_that_was_not_applied_has_no_span_of_its_own() -> None:
    records = [Read(10), Read(11)]
    _, events = _applied(records, applied=records[1:])
    assert [(event.attributes or {})["messaging.kafka.offset"] for event in events] == [11]


def test_a_policy_goes_on_in_the_trace_of_what_it_reacts_to() -> None:
    live, late, untraced = Read(10), Read(9), Read(11, None)
    with traced() as spans:
        with processing("shop.policy", [late, live, untraced], ENDS) as batch:
            assert (batch.traceparent(late), batch.traceparent(untraced)) == (None, None)
            first, again = batch.traceparent(live), batch.traceparent(live)
            assert not spans.all(), "what is decided again after a conflict is one span in the end"
            batch.applied([late, live, untraced])
        event = spans.one("apply shop.policy")
    assert first == again == f"00-{TRACE}-{own_id(event)}-01"
    assert parent_id(event) == PARENT


@pytest.mark.parametrize("context", ["", "nonsense", CONTEXT[:-2] + "00", "00-" + "0" * 32 + f"-{PARENT}-01"])
def test_a_context_that_is_malformed_or_not_kept_is_passed_over(context: str) -> None:
    batch, events = _applied([Read(10, context)])
    assert (len(batch.links), events) == (0, [])


def test_an_error_of_a_batch_is_named_by_its_kind_only() -> None:
    with traced() as spans:
        with pytest.raises(ValueError, match="ada"), processing("purchases.v1", [Read(10)], ENDS):
            raise ValueError("ada@example.com")
        batch = spans.one("process purchases.v1")
    assert not batch.status.is_ok
    assert (batch.attributes or {})["error.type"] == "ValueError"
    assert "ada" not in batch.to_json()


def test_one_big_batch_keeps_its_links_bounded() -> None:
    many = [Read(10 + n, f"00-{TRACE}-{n + 1:016x}-01") for n in range(500)]
    batch, events = _applied(many)
    assert (len(batch.links), len(events)) == (event_tracing.MOST_LINKS, 500)


def test_a_process_that_does_not_trace_does_nothing() -> None:
    assert not tracing.is_on()
    assert processing("purchases.v1", [Read(10)], ENDS) is NOT_TRACED
    assert NOT_TRACED.traceparent(Read(10)) is None
    with publishing("t.shop", []), processing("purchases.v1", [], {}) as batch:
        batch.applied([Read(10)])


def test_personal_blocks_are_nowhere_near_a_trace() -> None:
    made = PurchaseMade(occurred_at=SOME_TIME, amount=1, customer=Customer(name="Ada"))
    state = _stored(replace(recorded(made), traceparent=CONTEXT))
    assert state.index(b'"traceparent"') < state.index(b'"data"') < state.index(b"Ada")
