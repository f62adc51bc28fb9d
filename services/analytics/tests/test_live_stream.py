"""The speed layer and the exact totals in a real stack, through crashes of everything they stand on."""

import asyncio
import base64
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID, uuid4

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from crm_events.adapter import Channel
from crm_events.envelope import Recorded, event_id, to_document
from crm_events.event import Event, Sealed
from crm_events.sales import LeadCaptured, LeadConverted
from crm_events.service import Priority, TicketOpened
from crm_events.topics import PARTITIONS, SALES, context_topic
from crm_local.stack import Stack
from crm_platform.authenticity import HEADER as MAC_HEADER
from crm_platform.authenticity import Authenticator
from crm_platform.partitioning import key_of, partition_of
from crm_platform.sealing import InstallationKey

pytestmark = pytest.mark.integration

STREAM = "analytics-stream"
CHANGELOG = "crm-analytics-live-windows-changelog"
WITHIN_SECONDS = 60.0


class Publisher:
    """Publishes events as the relays of sales and service do, with their positions in the log."""

    def __init__(self, bootstrap: str, authenticator: Authenticator) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
        self._authenticator = authenticator
        self._position: Counter[str] = Counter()
        self._last: dict[tuple[str, int], int] = {}

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def publish(self, event: Event, stream: UUID, sequence: int = 1, *, times: int = 1) -> None:
        topic = context_topic(event.context)
        partition = partition_of(stream, PARTITIONS)
        self._position[topic] += 1
        position, previous = self._position[topic], self._last.get((topic, partition), 0)
        self._last[topic, partition] = position
        identity, now = event_id(stream, sequence), datetime.now(UTC)
        recorded = Recorded(identity, f"/{event.context}", stream, sequence, now, "test", "story", "cause", event)
        key, type_name, value = key_of(stream), event.type_name().encode(), orjson.dumps(to_document(recorded))
        headers = [
            ("content-type", b"application/cloudevents+json"),
            ("ce_type", type_name),
            ("ce_id", str(identity).encode()),
            ("ce_position", str(position).encode()),
            ("ce_previous", str(previous).encode()),
            (MAC_HEADER, self._authenticator.mac(topic, partition, position, previous, type_name, key, value)),
        ]
        for _ in range(times):
            await self._producer.send_and_wait(topic, value, key=key, partition=partition, headers=headers)

    async def leads(self, count: int, source: str, *, times: int = 1) -> None:
        for stream in (uuid4() for _ in range(count)):
            await self.publish(lead(source, stream), stream, times=times)

    async def garbage(self) -> None:
        """Records that no relay of ours would write; the first claims a place far ahead."""
        claims = [("ce_type", LeadCaptured.type_name().encode()), ("ce_position", b"9" * 17), ("ce_previous", b"0")]
        for value, headers in ((b"\xff{", claims), (b"{}", []), (None, [])):
            await self._producer.send_and_wait("crm.marketing", value, key=b"key", headers=headers)


def sealed(stream: UUID, sequence: int = 1) -> Sealed:
    return Sealed(event=event_id(stream, sequence), subject=stream, key=uuid4(), box="")


def lead(source: str, stream: UUID) -> LeadCaptured:
    return LeadCaptured(source=source, inquiry=sealed(stream), occurred_at=datetime.now(UTC))


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack.temporary(only=["analytics", STREAM]) as running:
        yield running


@pytest.fixture(scope="module")
async def publisher(stack: Stack) -> AsyncIterator[Publisher]:
    secret = base64.b64decode((stack.folder.secrets / "crm_installation_key").read_text())
    authenticator = Authenticator(InstallationKey(secret))
    async with Publisher(stack.addresses.kafka_bootstrap, authenticator) as publisher:
        yield publisher


@pytest.fixture
async def ask(stack: Stack) -> AsyncIterator[Callable[[str], Any]]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {stack.token('analyst')}"}) as http:

        async def get(path: str) -> Any:
            async with http.get(stack.addresses.service_url("analytics") + path) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json()

        yield get


async def live_counts(ask: Callable[[str], Any]) -> Counter[tuple[str, str | None]]:
    view = await ask("/kpis/live")
    return Counter(
        {(each["metric"], each["source"]): sum(p["value"] for p in each["points"]) for each in view["series"]}
    )


async def until_live(ask: Callable[[str], Any], line: tuple[str, str | None], count: int) -> None:
    """Wait for the line to come to exactly that count, and to stay there while the stream writes on."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while (found := (await live_counts(ask))[line]) != count:
        assert time.monotonic() < deadline, f"{line} stands at {found}, expected {count}"
        await asyncio.sleep(0.1)
    written = datetime.now(UTC)
    while True:
        view = await ask("/kpis/live")
        age = view["newest_write_age_seconds"]
        if age is not None and age < (datetime.now(UTC) - written).total_seconds() - 1.0:
            break
        assert time.monotonic() < deadline, "the stream has stopped writing"
        await asyncio.sleep(0.1)
    assert (await live_counts(ask))[line] == count


async def test_what_happens_moves_the_live_windows(publisher: Publisher, ask: Callable[[str], Any]) -> None:
    await publisher.leads(3, "web")
    await publisher.leads(2, "fair")
    stream = uuid4()
    await publisher.publish(
        TicketOpened(
            channel=Channel.EMAIL, priority=Priority.LOW, request=sealed(stream), occurred_at=datetime.now(UTC)
        ),
        stream,
    )
    await until_live(ask, ("leads_captured", "web"), 3)
    await until_live(ask, ("leads_captured", "fair"), 2)
    await until_live(ask, ("tickets_opened", None), 1)
    view = await ask("/kpis/live")
    assert view["layer"] == "speed"
    assert {len(each["points"]) for each in view["series"]} == {15}
    assert all([p["is_open"] for p in each["points"]] == [False] * 14 + [True] for each in view["series"])


async def test_an_event_published_again_counts_once(publisher: Publisher, ask: Callable[[str], Any]) -> None:
    await publisher.leads(5, "twice", times=2)
    await until_live(ask, ("leads_captured", "twice"), 5)


async def test_what_cannot_be_read_is_passed_over(publisher: Publisher, ask: Callable[[str], Any]) -> None:
    await publisher.garbage()
    await publisher.leads(2, "after garbage")
    await until_live(ask, ("leads_captured", "after garbage"), 2)


async def test_a_killed_stream_counts_on_where_it_was(
    stack: Stack, publisher: Publisher, ask: Callable[[str], Any]
) -> None:
    await publisher.leads(6, "crash")
    await until_live(ask, ("leads_captured", "crash"), 6)
    stack.kill(STREAM)
    await publisher.leads(6, "crash")
    await until_live(ask, ("leads_captured", "crash"), 12)


@pytest.mark.parametrize("part", ["kafka", "mongodb"])
async def test_a_crash_beneath_loses_no_count(
    stack: Stack, publisher: Publisher, ask: Callable[[str], Any], part: str
) -> None:
    await publisher.leads(3, part)
    await until_live(ask, ("leads_captured", part), 3)
    stack.kill(part)
    await publisher.leads(3, part)
    stack.wait_until_ready(part)
    stack.wait_until_ready("analytics")
    await until_live(ask, ("leads_captured", part), 6)


@pytest.mark.parametrize("kept", [1, 0])
async def test_a_changelog_that_retention_has_shortened_is_no_obstacle(
    stack: Stack, publisher: Publisher, ask: Callable[[str], Any], kept: int
) -> None:
    source = f"{kept} kept"
    stack.hold(STREAM)
    await shorten_changelog(stack.addresses.kafka_bootstrap, kept)
    stack.release(STREAM)
    await publisher.leads(8, source)
    await until_live(ask, ("leads_captured", source), 8)


async def test_the_stream_stops_in_order(stack: Stack) -> None:
    started = time.monotonic()
    stack.hold(STREAM)
    took = time.monotonic() - started
    stack.release(STREAM)
    assert took < 10, "the supervisor had to kill it"
    assert "LeaveGroup request succeeded" in stack.log(STREAM)


async def test_the_totals_are_exact_whatever_happened_to_the_stream(
    publisher: Publisher, ask: Callable[[str], Any]
) -> None:
    stream = uuid4()
    await publisher.publish(lead("exact", stream), stream, times=2)
    await publisher.publish(
        LeadConverted(source="exact", opportunity_id=uuid4(), occurred_at=datetime.now(UTC)), stream, 2
    )
    deadline = time.monotonic() + WITHIN_SECONDS
    while True:
        by_source = {each["source"]: each for each in (await ask("/kpis"))["leads"]["by_source"]}
        if by_source.get("exact", {}).get("converted") == 1:
            break
        assert time.monotonic() < deadline, "the totals do not move"
        await asyncio.sleep(0.1)
    assert {source: each["captured"] for source, each in by_source.items()} == {
        "web": 3,
        "fair": 2,
        "twice": 5,
        "after garbage": 2,
        "crash": 12,
        "kafka": 6,
        "mongodb": 6,
        "1 kept": 8,
        "0 kept": 8,
        "exact": 1,
    }
    assert by_source["exact"]["conversion_rate"] == 1.0


async def shorten_changelog(bootstrap: str, kept: int) -> None:
    """Delete the changelog's records but the last `kept` of each partition, as Kafka's retention does."""
    partitions = [TopicPartition(CHANGELOG, number) for number in range(SALES.partitions)]
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        ends = await consumer.end_offsets(partitions)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_records({p: RecordsToDelete(before_offset=max(0, end - kept)) for p, end in ends.items()})
    finally:
        await admin.close()
