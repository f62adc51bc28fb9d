"""F27: what is too large is refused at the door, wedges nobody on a topic, and makes no relay step over an event."""

import asyncio
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from door import eventually
from tests.faults import invariants
from tests.faults.crafting import Crafted, Crafter
from tests.faults.poison import Operator, readers_of
from tests.faults.rig import GAUGES_WITHIN, Rig

from crm_events.topics import INTERACTIONS, MAX_MESSAGE_BYTES, MAX_RECORD_BYTES, SALES
from crm_platform.topics import settings_of

STOPPED = ("crm_relay_stopped", ())
OVERHEAD = 200
"""What the broker counts beside a record's key and value."""
TOO_SMALL = 120
"""Bytes: no event of sales goes into so little."""


@pytest.mark.parametrize(
    ("path", "role", "size"),
    [
        ("leads", "sales", MAX_MESSAGE_BYTES + 1),
        ("tickets", "service", MAX_MESSAGE_BYTES + 1),
        ("contacts", "sales", 4 * MAX_MESSAGE_BYTES),
        ("interactions", "adapter", 16 * 1024 * 1024 + 1),
    ],
)
@pytest.mark.row("F27", "more than 1 MiB at the HTTP door", "413, nothing stored")
async def test_a_body_that_is_too_large_is_refused_at_the_door(rig: Rig, path: str, role: str, size: int) -> None:
    before = [await asyncio.to_thread(rig.reality.newest, service) for service in ("contacts", "sales", "service")]
    headers = {"Content-Type": "application/json"}
    reply = await rig.door.send(
        "POST", f"/api/{path}", role=role, headers=headers, data=b'"' + b"x" * (size - 2) + b'"'
    )
    assert reply.is_problem(413), reply.body
    after = [await asyncio.to_thread(rig.reality.newest, service) for service in ("contacts", "sales", "service")]
    assert before == after


@pytest.mark.row("F27", "records as large as the broker takes", "I1-I8 I10")
async def test_the_largest_records_that_the_broker_takes_wedge_nobody(rig: Rig) -> None:
    await rig.rests()
    key = str(uuid4()).encode()
    poisoned = {(consumer, SALES.name, key.decode()) for consumer in readers_of(SALES.name)}
    async with rig.under_load(writers=2) as trial, Crafter.of(rig) as crafter:
        for _ in range(3):
            await crafter.write(Crafted(SALES.name, key, b"x" * (MAX_MESSAGE_BYTES - OVERHEAD)))
            await crafter.write(Crafted(INTERACTIONS.name, key, b"x" * (MAX_MESSAGE_BYTES - OVERHEAD)))
        stream, value = trial.load.interaction("x" * 100_000)
        headers = [("content-type", b"application/cloudevents+json")]
        assert len(value) < MAX_RECORD_BYTES
        await crafter.write(Crafted(INTERACTIONS.name, str(stream).encode(), value, headers))
        trial.load.interactions[stream] = str(stream)
        trial.poisoned |= poisoned
        trial.repaired()
    await Operator(rig.door).discard_all(poisoned)
    await rig.falls_quiet()


@pytest.mark.row("F27", "the broker takes no event of sales for a while", "I1-I8 I10, crm_relay_stopped, in order")
async def test_a_relay_whose_record_is_refused_stops_loudly_and_goes_on_by_itself(rig: Rig) -> None:
    async with rig.under_load() as trial:
        await trial.settled(1)
        before = dict(trial.load.acknowledged)
        await _set_limit(rig, TOO_SMALL)
        try:
            await eventually(lambda: _says_stopped(rig, 1), "crm_relay_stopped is 1", within=GAUGES_WITHIN)
            await trial.settled(2)
            accepted = {answer.service for number, answer in trial.load.acknowledged.items() if number not in before}
            assert accepted == {"contacts", "sales", "service", "marketing"}, "commands are stored all the same"
            samples = await rig.samples()
            assert [part for part, found in samples.items() if found.get(STOPPED)] == ["sales"]
            assert not await rig.not_ready(), "it stays ready: its commands and reads work"
        finally:
            await _set_limit(rig, MAX_MESSAGE_BYTES)
        trial.repaired()
        invariants.others_noticed_nothing(trial.load, trial.began, trial.repaired_at, set())
        await eventually(lambda: _says_stopped(rig, 0), "crm_relay_stopped is 0", within=GAUGES_WITHIN)


async def _says_stopped(rig: Rig, value: float) -> bool:
    return (await rig.samples())["sales"][STOPPED] == value


async def _set_limit(rig: Rig, size: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=rig.stack.addresses.kafka_bootstrap)
    await admin.start()
    try:
        settings = {**settings_of(SALES), "max.message.bytes": str(size)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, SALES.name, configs=settings)])
    finally:
        await admin.close()
