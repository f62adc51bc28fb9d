"""Consumers and stores read what older releases wrote as today's events, and count it."""

from typing import Any
from uuid import UUID

import orjson
import pytest
from aiokafka import ConsumerRecord
from eventsourcing.persistence import JSONTranscoder
from hypothesis import given
from hypothesis import strategies as st
from libs.events.tests.later_releases import V1, V2, V3
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record
from prometheus_client import REGISTRY as METRICS

from crm_events.envelope import to_document
from crm_events.event import Event
from crm_events.registry import Registry
from crm_events.topics import Topic
from crm_platform.event_store.mapper import CloudEventsMapper
from crm_platform.inbound import RecordReader
from crm_platform.testing import SOME_STREAM, SOME_TIME, recorded

TOPIC = Topic("t.vouchers")
RELEASES: tuple[type[Event], ...] = (V1, V2, V3)
TODAY = V3(occurred_at=SOME_TIME, holder="Ada", amount=700, paid_by="unknown")
WRITTEN: dict[type[Event], Event] = {
    V1: V1(occurred_at=SOME_TIME, name="Ada", amount=7),
    V2: V2(occurred_at=SOME_TIME, holder="Ada", amount=7),
    V3: TODAY,
}
every_release = pytest.mark.parametrize("release", RELEASES, ids=lambda release: f"v{release.version}")


def record(event: Event, sequence: int = 1, **claims: Any) -> ConsumerRecord:
    return as_record(TOPIC, sequence - 1, recorded(event, sequence=sequence), (sequence, sequence - 1), **claims)


def reader(release: type[Event], *handled: type[Event]) -> RecordReader:
    return RecordReader(Registry([release]), handled, AUTHENTICATOR)


def upcasts(release: type[Event]) -> float:
    return METRICS.get_sample_value("crm_upcasts_total", {"event_type": release.type_name()}) or 0.0


@every_release
def test_a_consumer_of_todays_class_is_given_every_older_version(release: type[Event]) -> None:
    inbound = reader(V3, V3).read(record(WRITTEN[release]))

    assert inbound.event is not None
    assert inbound.event == recorded(TODAY)


@every_release
def test_a_consumer_that_handles_none_of_them_passes_over_the_older_ones_as_well(release: type[Event]) -> None:
    inbound = reader(V3).read(record(WRITTEN[release]))

    assert (inbound.unhandled, inbound.unknown, inbound.refusal) == (release.type_name(), False, None)


@pytest.mark.parametrize("deployed", [V1, V2])
def test_a_version_that_is_newer_than_the_release_is_refused_and_not_misread(deployed: type[Event]) -> None:
    inbound = reader(deployed, deployed).read(record(TODAY))

    assert inbound.event is None
    assert inbound.refusal == f"{V3.type_name()} is a version that this release cannot read"


def test_an_older_version_that_its_upcaster_cannot_take_is_refused_with_the_step() -> None:
    document = to_document(recorded(WRITTEN[V1]))
    del document["data"]["amount"]
    inbound = reader(V3, V3).read(as_record(TOPIC, 0, orjson.dumps(document), (1, 0), named=V1.type_name()))

    assert inbound.event is None
    assert inbound.refusal == f"{V1.type_name()} cannot be read as version 3: its upcaster raised KeyError"


@every_release
def test_what_was_written_in_an_older_version_is_counted_by_that_version(release: type[Event]) -> None:
    before = {each: upcasts(each) for each in RELEASES}

    reader(V3, V3).read(record(WRITTEN[release]))

    counted = {each: upcasts(each) - before[each] for each in RELEASES}
    assert counted == {each: float(each is release and each is not V3) for each in RELEASES}


@given(st.lists(st.sampled_from(RELEASES), min_size=1, max_size=8), st.integers(0, 10**6))
def test_a_history_of_many_releases_is_read_from_the_log_as_from_the_store(
    history: list[type[Event]], amount: int
) -> None:
    members = {"occurred_at": SOME_TIME, "name": "Ada", "holder": "Ada", "amount": amount, "paid_by": "unknown"}
    events = [(release.model_validate(members), n) for n, release in enumerate(history, 1)]
    consumer, today = reader(V3, V3), CloudEventsMapper(JSONTranscoder(), Registry([V3]))

    from_log = [consumer.read(record(event, n)).event for event, n in events]
    rows = [_mapper_of(type(event)).to_stored_event(recorded(event, sequence=n)) for event, n in events]
    from_store = [today.to_domain_event(row) for row in rows]

    assert from_log == from_store
    assert [row.topic for row in rows] == [release.type_name() for release in history]
    hundredths = [amount if release is V3 else amount * 100 for release in history]
    assert [event.data.amount for event in from_store] == hundredths
    assert {event.subject for event in from_store} == {UUID(str(SOME_STREAM))}


def _mapper_of(release: type[Event]) -> CloudEventsMapper:
    return CloudEventsMapper(JSONTranscoder(), Registry([release]))
