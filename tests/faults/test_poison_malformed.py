"""F26: whatever a stranger may write to a topic parks its own key at most; nobody dies, and all else flows."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import orjson
import pytest
from aiokafka import ConsumerRecord
from tests.faults.crafting import STANDS_FOR_A_NAME, Crafted, Crafter, document, own_headers
from tests.faults.poison import Lot, Operator, readers_of
from tests.faults.rig import Rig

from crm_events.envelope import STRUCTURED
from crm_events.topics import INTERACTIONS, KEYS, PARTITIONS
from crm_local.plan import SERVICE_PARTS
from crm_platform.inbound import key_of

DEPTH = 10_000
MEGABYTE = b'"' + b"x" * 1_000_000 + b'"'
FAR_AHEAD = 10**17
TYPES = {
    "crm.contacts": "crm.contacts.ContactRegistered.v1",
    "crm.sales": "crm.sales.LeadQualified.v1",
    "crm.service": "crm.service.TicketReplied.v1",
    "crm.marketing": "crm.marketing.ContactEnrolled.v1",
}
CONTENT = ("content-type", STRUCTURED.encode())
MAC = ("crm-mac", b"0" * 16)


@dataclass(frozen=True)
class Lives:
    """The processes of the services, and how often each was started."""

    seen: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, rig: Rig) -> "Lives":
        return cls({part: (rig.stack.pid(part), rig.stack.record(part).restarts) for part in SERVICE_PARTS})


def _values() -> Iterator[bytes | None]:
    yield None
    yield b""
    yield b"{"
    yield b"\xff\xfe{}"
    yield b"[]"
    yield b"null"
    yield b'{"specversion": "1.0", "data": NaN}'
    yield b"[" * DEPTH + b"]" * DEPTH
    yield b'{"a":' * DEPTH + b"1" + b"}" * DEPTH
    yield MEGABYTE
    yield orjson.dumps({"type": 7, "data": {}, "subject": None})


def _keys() -> Iterator[bytes | None]:
    yield None
    yield b""
    yield b"\xff" * 10
    yield b"k" * 5_000
    yield b"a/b ?#%"
    yield b"line\nbreak\x00"


def _strange(topic: str, type_name: str, *, any_key: bool = True) -> Iterator[Crafted]:
    """One record for each way in which one can be wrong, each under a key of its own."""

    def fresh() -> bytes:
        return str(uuid4()).encode()

    stream = uuid4()
    good = document(stream, type_name, {"occurred_at": "2026-03-01T10:00:00Z"})
    claimed = own_headers(stream, type_name, 1, 0)
    for value in _values():
        yield Crafted(topic, fresh(), value, [*claimed, MAC])
        yield Crafted(topic, fresh(), value)
    for key in _keys() if any_key else ():
        yield Crafted(topic, key, good, [*claimed, MAC])
    for position, previous in ((FAR_AHEAD, 0), (FAR_AHEAD, FAR_AHEAD - 1), (-1, 0), (10**30, 0)):
        yield Crafted(topic, fresh(), good, [*own_headers(stream, type_name, position, previous), MAC])
    for missing in range(len(claimed)):
        yield Crafted(topic, fresh(), good, [*claimed[:missing], *claimed[missing + 1 :], MAC])
    yield Crafted(topic, fresh(), good, [*claimed, ("crm-mac", None)])
    yield Crafted(topic, fresh(), good, [("content-type", b"text/html"), *claimed[1:], MAC])
    yield Crafted(topic, fresh(), good, [CONTENT, ("ce_type", b"\xff\xfe"), ("ce_id", b"\xff\x00"), MAC])
    yield Crafted(topic, fresh(), good, [CONTENT, ("ce_position", b"\xff"), ("ce_previous", None), MAC])
    yield Crafted(topic, fresh(), good, [CONTENT, ("ce_type", b"x" * 100_000), MAC])
    yield Crafted(topic, fresh(), good, [CONTENT, (STANDS_FOR_A_NAME, b"x"), MAC])
    yield Crafted(topic, fresh(), good, [*claimed, MAC], timestamp_ms=1)


@pytest.mark.timeout(600)
@pytest.mark.row("F26", "records malformed in every way, on every topic", "I1-I8 I10, no process ends")
async def test_a_malformed_record_parks_its_own_key_at_most(rig: Rig) -> None:
    await rig.rests()
    lives, poisoned = Lives.of(rig), set[Lot]()
    async with rig.under_load() as trial, Crafter.of(rig) as crafter:
        for topic, type_name in TYPES.items():
            for n, record in enumerate(_strange(topic, type_name)):
                there = record._replace(partition=n % PARTITIONS)
                await crafter.write(there)
                poisoned |= {(consumer, topic, _lot_of(there)) for consumer in readers_of(topic)}
        for record in _strange(INTERACTIONS.name, "crm.adapter.InteractionRecorded.v1"):
            await crafter.write(record)
        for record in _strange(KEYS.name, "", any_key=False):
            if record.value is not None:
                await crafter.write(record)
        trial.poisoned |= poisoned
        trial.repaired()
        await rig.are_parked(poisoned)
        await trial.settled(1)
    assert Lives.of(rig) == lives, "no process ended"
    await Operator(rig.door).discard_all(poisoned)
    await rig.falls_quiet()


def _lot_of(record: Crafted) -> str:
    return key_of(
        ConsumerRecord(record.topic, record.partition, 0, 0, 0, record.key, record.value, None, 0, 0, record.headers)
    )
