"""What adapters write past HTTP: the bad is set aside with its reason, and the good behind it flows."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psycopg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from at_rest import Accounts
from door import Door

from crm_events.adapter import InteractionRecorded
from crm_events.topics import INTERACTIONS, MAX_RECORD_BYTES
from crm_local.stack import Stack
from crm_platform import kafka

PRIVATE = "wilhelmina"
"""Stands in every value that must not be repeated."""
SOURCE = "/adapters/mailbox"
TYPE = "crm.interactions.InteractionRecorded.v1"
STRUCTURED = (("content-type", b"application/cloudevents+json"),)
PARTITION = 4
REFUSED = re.compile(r'^crm_adapter_records_refused_total\{topic="crm\.interactions"\} (\S+)$', re.MULTILINE)


def mail(handle: str, **changed: Any) -> dict[str, Any]:
    return {
        "external_id": uuid4().hex,
        "occurred_at": "2026-03-01T10:00:00Z",
        "channel": "email",
        "direction": "inbound",
        "party": {"handle": handle},
        **changed,
    }


def document(data: object, **changed: Any) -> dict[str, Any]:
    """A CloudEvents document; an attribute that is changed to None is left out."""
    attributes = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": SOURCE,
        "type": TYPE,
        "time": "2026-03-01T10:00:01Z",
        "data": data,
        **changed,
    }
    return {name: value for name, value in attributes.items() if value is not None}


@dataclass(frozen=True)
class Record:
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = STRUCTURED
    key: bytes | None = b"mailbox/1"


def structured(data: object, **changed: Any) -> Record:
    return Record(json.dumps(document(data, **changed)).encode())


def binary(data: object, **changed: Any) -> Record:
    attributes = document(data, **changed)
    value = json.dumps(attributes.pop("data")).encode()
    headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
    return Record(value, [("content-type", b"application/json"), *headers])


GOOD = mail(PRIVATE)
LEAD = {
    "occurred_at": "2026-03-01T10:00:00Z",
    "source": "web",
    "inquiry": {"party": {"handle": PRIVATE}, "message": PRIVATE},
}
CAPTURED = {"type": "crm.sales.LeadCaptured.v1", "subject": str(uuid4()), "sequence": "1"}
STRANGER = {"external_id": "1", "occurred_at": "2026-03-01T10:00:00Z"}
BAD: dict[str, tuple[Record, str]] = {
    "no JSON": (Record(PRIVATE.encode()), "not JSON"),
    "nothing": (Record(b""), "not JSON"),
    "cut off": (Record(json.dumps(document(GOOD)).encode()[:-1]), "not JSON"),
    "not UTF-8": (Record(b'{"data": "wilhelmina\xff"}'), "not JSON in UTF-8"),
    "NaN": (Record(json.dumps(document({**GOOD, "attributes": {"n": float("nan")}})).encode()), "not JSON"),
    "nested without end": (Record(b'{"data": ' + b"[" * 100_000), "not JSON"),
    "deep": (structured({**GOOD, "attributes": json.loads('{"a":' * 500 + "1" + "}" * 500)}), "attributes"),
    "no object": (Record(json.dumps([PRIVATE]).encode()), "JSON object"),
    "tombstone": (Record(None), "no value"),
    "without type": (structured(GOOD, type=None), "'type' is missing"),
    "without source": (structured(GOOD, source=None), "'source' is missing"),
    "without time": (structured(GOOD, time=None), "'time' is missing"),
    "without data": (structured(None), "'data' is missing"),
    "without any header": (Record(json.dumps(GOOD).encode(), ()), "nor the header ce_type"),
    "binary without type": (binary(GOOD, type=None), "nor the header ce_type"),
    "binary without source": (binary(GOOD, source=None), "'source' is missing"),
    "unknown type": (
        structured(GOOD, type="crm.interactions.Unheard.v1"),
        "no type that may be written to crm.interactions",
    ),
    "unknown type, binary": (
        binary(GOOD, type="crm.interactions.Unheard.v1"),
        "no type that may be written to crm.interactions",
    ),
    "type is no text": (structured(GOOD, type={"a": PRIVATE}), "type must be text"),
    "time is no moment": (structured(GOOD, time=PRIVATE), "moment"),
    "a fact of sales": (structured(LEAD, **CAPTURED), "no type that may be written to crm.interactions"),
    "unknown member": (structured({**GOOD, "colour": PRIVATE}), "colour: Extra inputs are not permitted"),
    "unknown channel": (structured({**GOOD, "channel": PRIVATE}), "channel: Input should be"),
    "no party": (structured({**GOOD, "party": {}}), "a party needs one of"),
    "party of nobody": (structured({**GOOD, "party": {"email": PRIVATE}}), "e-mail address"),
    "person of nobody": (structured(STRANGER, type="crm.interactions.PersonDescribed.v1"), "a person needs"),
    "above 256 KiB": (structured({**GOOD, "body": PRIVATE + "x" * MAX_RECORD_BYTES}), "over the 262144"),
}


class Adapter:
    """Writes to the topic of the adapters, whatever it likes."""

    def __init__(self, stack: Stack, producer: AIOKafkaProducer) -> None:
        self._stack = stack
        self._producer = producer

    async def write(self, record: Record) -> int:
        """The offset at which the record stands in the partition."""
        stored = await self._producer.send_and_wait(
            INTERACTIONS.name, record.value, record.key, partition=PARTITION, headers=list(record.headers)
        )
        offset: int = stored.offset
        return offset

    def set_aside(self, offset: int) -> list[str]:
        """The reasons for which the record at that offset was set aside."""
        with psycopg.connect(self._stack.addresses.postgres_uri("contacts")) as connection:
            rows = connection.execute(
                "SELECT reason FROM set_aside_records WHERE topic = %s AND partition = %s AND record_offset = %s",
                (INTERACTIONS.name, PARTITION, offset),
            ).fetchall()
        return [reason for (reason,) in rows]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def adapter(stack: Stack) -> AsyncIterator[Adapter]:
    async with kafka.producer(stack.addresses.kafka_bootstrap) as producer:
        yield Adapter(stack, producer)


async def _refused_so_far(stack: Stack) -> float:
    """The counter of refused records on contacts' own /metrics."""
    url = f"{stack.addresses.service_url('contacts')}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        found = REFUSED.search(await answer.text())
    return float(found[1]) if found else 0.0


async def _subjects(crm: Door, handle: str, *logged: dict[str, Any], source: str = SOURCE) -> list[str]:
    """The subjects in that customer's timeline, once these interactions are in it."""
    identities = (InteractionRecorded.model_validate(interaction).identity(source) for interaction in logged)
    view = await crm.customer(after=" ".join(f"{identity}@1" for identity in identities), handle=handle)
    return sorted(item["content"]["subject"] for item in view["timeline"]["items"])


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD.keys())
async def test_a_bad_record_is_set_aside_and_the_good_one_behind_it_is_logged(
    crm: Door, accounts: Accounts, adapter: Adapter, bad: Record, reason: str
) -> None:
    counted = await _refused_so_far(crm.stack)
    handle = f"@{uuid4().hex}"
    good = mail(handle, subject="Behind")
    offset = await adapter.write(bad)
    behind = await adapter.write(structured(good))

    assert await _subjects(crm, handle, good) == ["Behind"]
    await accounts.at_rest()
    (why,) = adapter.set_aside(offset)
    assert reason in why
    assert PRIVATE not in why
    assert not adapter.set_aside(behind)
    assert await _refused_so_far(crm.stack) == counted + 1
    assert PRIVATE not in crm.stack.log("contacts")


async def test_a_bad_record_leaves_no_event(accounts: Accounts, adapter: Adapter) -> None:
    before = await accounts.at_rest()
    for bad, _ in BAD.values():
        await adapter.write(bad)
    assert (await accounts.at_rest()).events == before.events


async def test_a_position_that_an_adapter_made_up_says_nothing(crm: Door, accounts: Accounts, adapter: Adapter) -> None:
    handle = f"@{uuid4().hex}"
    good = mail(handle, subject="taken")
    await adapter.write(replace(structured(good), headers=(*STRUCTURED, ("ce_position", b"9" * 5_000))))
    await accounts.at_rest()
    assert await _subjects(crm, handle, good) == ["taken"]


async def test_binary_mode_is_as_good_as_structured_and_a_repeat_in_the_other_counts_once(
    crm: Door, accounts: Accounts, adapter: Adapter
) -> None:
    handle = f"@{uuid4().hex}"
    first, second = mail(handle, subject="1"), mail(handle, subject="2")
    for record in (binary(first), structured(first), structured(second), binary(second)):
        await adapter.write(record)
    await accounts.at_rest()
    assert await _subjects(crm, handle, first, second) == ["1", "2"]


@dataclass(frozen=True)
class Published:
    exit_code: int
    output: str


def publish(stack: Stack, file: Path, form: str, source: str) -> Published:
    """`crm publish` as a person runs it."""
    command = [sys.executable, "-m", "crm_local", "publish", str(file), "--as", form, "--source", source]
    environment = {**os.environ, "CRM_LOCAL_DIR": str(stack.folder.root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return Published(done.returncode, done.stdout + done.stderr)


BAD_LINES: tuple[tuple[bytes, str], ...] = (
    (b'{"external_id": "wilhelmina",', "not JSON"),
    (b'["wilhelmina"]', "not a JSON object"),
    (b'{"external_id": "wilhelmina\xff"}', "not UTF-8: byte 28 of the line cannot be read"),
    (b'{"external_id": NaN}', "not JSON"),
    (b"[" * 10_000, "not JSON"),
    (json.dumps({**GOOD, "type": PRIVATE}).encode(), "type: must be one of InteractionRecorded, PersonDescribed"),
    (json.dumps({**GOOD, "colour": PRIVATE}).encode(), "colour: Extra inputs are not permitted"),
    (json.dumps({**GOOD, "channel": PRIVATE}).encode(), "channel: Input should be 'email'"),
    (json.dumps({**GOOD, "party": {}}).encode(), "party: a party needs one of"),
    (json.dumps({**GOOD, "party": {"email": PRIVATE}}).encode(), "email: The e-mail address is not one"),
    (json.dumps({**GOOD, "subject": 7}).encode(), "subject: Input should be a valid string"),
    (json.dumps({**GOOD, "body": "x" * MAX_RECORD_BYTES}).encode(), "longer than 262144 bytes"),
    (json.dumps({**GOOD, "body": "ü" * 130_950}, ensure_ascii=False).encode(), "262144 is the most it may have"),
)


async def test_of_a_file_the_good_lines_are_published_and_each_bad_one_is_named(
    crm: Door, accounts: Accounts, tmp_path: Path
) -> None:
    handle, file = f"@{uuid4().hex}", tmp_path / "mails.jsonl"
    first, last = mail(handle, subject="first"), mail(handle, subject="last")
    lines = (json.dumps(first).encode(), *(line for line, _ in BAD_LINES), b"", json.dumps(last).encode())
    file.write_bytes(b"\n".join(lines))
    before = await accounts.at_rest()

    done = await asyncio.to_thread(publish, crm.stack, file, "jsonl", "bad-lines")

    assert done.exit_code == 1, done.output
    assert f"2 taken, {len(BAD_LINES)} refused" in done.output
    for number, (_, reason) in enumerate(BAD_LINES, 2):
        assert re.search(rf"^line {number}: .*{re.escape(reason)}", done.output, re.MULTILINE), (
            f"{number}: {done.output}"
        )
    assert PRIVATE not in done.output
    after = await accounts.at_rest()
    assert after.records(INTERACTIONS.name) - before.records(INTERACTIONS.name) == 2
    assert await _subjects(crm, handle, first, last, source="/adapters/bad-lines") == ["first", "last"]


@pytest.mark.parametrize(
    ("form", "content", "exit_code", "reason"),
    [
        ("orders", b" 00004 0001 19970231  2   29.33\n", 1, "line 1: date: no such day"),
        ("orders", b" 00004 wilhelmina 19970101 2 29.33\n", 1, "line 1: sample customer id: not a number"),
        ("orders", b" 00004 0001 19970101\n", 1, "line 1: an order has 5 columns"),
        ("people", b"rec_id, wilhelmina\n", 2, "line 1 must name each column once"),
    ],
)
async def test_a_file_without_a_good_line_publishes_nothing(
    crm: Door, accounts: Accounts, tmp_path: Path, form: str, content: bytes, exit_code: int, reason: str
) -> None:
    file = tmp_path / "bad.txt"
    file.write_bytes(content)
    async with accounts.nothing_stored():
        done = await asyncio.to_thread(publish, crm.stack, file, form, "bad-files")
    assert (done.exit_code, reason in done.output) == (exit_code, True), done.output
    assert PRIVATE not in done.output
