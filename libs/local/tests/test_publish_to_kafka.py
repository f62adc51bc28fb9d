"""Publishing a file to a real broker, through the command line."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from crm_events.topics import INTERACTIONS
from crm_local.stack import Stack

pytestmark = pytest.mark.integration

_ORDERS = b" 00004 0001 19970101  2   29.33\r\n" * 2 + b" 00004 0001 19970118  2   29.7x\r\n"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack.temporary(only=["kafka"]) as running:
        environment = {**os.environ, "CRM_KAFKA_BOOTSTRAP": running.addresses.kafka_bootstrap}
        subprocess.run([sys.executable, "-m", "crm_platform.topics"], env=environment, check=True)
        yield running


def _notes(count: int) -> str:
    note = {
        "occurred_at": "2026-01-01T00:00:00Z",
        "channel": "note",
        "direction": "inbound",
        "party": {"handle": "somebody"},
    }
    return "".join(json.dumps({**note, "external_id": str(number)}) + "\n" for number in range(count))


def _command(stack: Stack, *arguments: str | Path) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, "CRM_LOCAL_DIR": str(stack.folder.root)}
    return [sys.executable, "-m", "crm_local", "publish", *map(str, arguments)], environment


def _publish(stack: Stack, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command, environment = _command(stack, *arguments)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


async def _published(stack: Stack, source: str) -> list[dict[str, Any]]:
    """The documents of one adapter in the topic, from its beginning to its present end."""
    partitions = [TopicPartition(INTERACTIONS.name, number) for number in range(INTERACTIONS.partitions)]
    async with AIOKafkaConsumer(bootstrap_servers=stack.addresses.kafka_bootstrap) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        documents: list[dict[str, Any]] = []
        while [each for each in partitions if await consumer.position(each) < ends[each]]:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                documents += [json.loads(record.value) for record in records]
    return [each for each in documents if each["source"] == f"/adapters/{source}"]


def _ids(documents: Sequence[dict[str, Any]]) -> set[str]:
    return {each["data"]["external_id"] for each in documents}


async def test_what_can_be_taken_is_published_and_the_rest_is_named(stack: Stack, tmp_path: Path) -> None:
    file, refusals = tmp_path / "orders.txt", tmp_path / "refused.txt"
    file.write_bytes(_ORDERS)
    done = await asyncio.to_thread(_publish, stack, file, "--as", "orders", "--refused", refusals)
    assert done.returncode == 1, done.stderr
    assert "2 taken, 1 refused" in done.stdout
    reason = "line 3: dollars: not an amount with at most 13 digits and two decimals\n"
    assert reason in done.stdout
    assert refusals.read_text() == reason
    assert _ids(await _published(stack, "cdnow")) == {"0001/19970101/1", "0001/19970101/2"}


async def test_publishing_a_file_again_repeats_the_same_ids(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "orders.txt"
    file.write_bytes(_ORDERS.splitlines(keepends=True)[0] * 2)
    for _ in range(2):
        done = await asyncio.to_thread(_publish, stack, file, "--as", "orders", "--source", "twice")
        assert done.returncode == 0, done.stderr
    documents = await _published(stack, "twice")
    assert len(documents) == 4
    assert len({each["id"] for each in documents}) == 2


async def test_an_interrupted_run_says_how_far_it_came_and_what_it_counted_is_stored(
    stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text(_notes(100_000))
    command, environment = _command(stack, file, "--as", "jsonl", "--source", "cut")
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)
    while not await _published(stack, "cut"):
        assert process.returncode is None, "it was done before it could be interrupted"
    process.send_signal(signal.SIGINT)
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130, errors
    taken = int(output.decode().split(" taken")[0].replace(",", ""))
    assert f"Interrupted after line {taken}." in errors.decode()
    assert {str(number) for number in range(taken)} <= _ids(await _published(stack, "cut"))


@pytest.mark.parametrize("gone", [Stack.hold, Stack.pause])
async def test_a_kafka_that_goes_away_ends_the_run_and_what_it_counted_is_stored(
    stack: Stack, tmp_path: Path, gone: Callable[[Stack, str], None]
) -> None:
    file, source = tmp_path / "notes.jsonl", gone.__name__
    file.write_text(_notes(100_000))
    command, environment = _command(stack, file, "--as", "jsonl", "--source", source)
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)
    while not await _published(stack, source):
        assert process.returncode is None, "it was done before Kafka went away"
    await asyncio.to_thread(gone, stack, "kafka")
    try:
        output, errors = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if gone is Stack.pause:
            stack.resume("kafka")
        await asyncio.to_thread(stack.release, "kafka")
    assert process.returncode == 2, errors
    taken = int(output.decode().split(" taken")[0].replace(",", ""))
    reached = f"{taken:,} of the lines are acknowledged up to line {taken}" if taken else "none of the lines is"
    assert f"Kafka no longer answers; {reached}" in errors.decode()
    assert "Run it again for the rest: nothing counts twice." in errors.decode()
    assert len(errors.decode().splitlines()) == 1, errors
    assert {str(number) for number in range(taken)} <= _ids(await _published(stack, source))


def test_a_kafka_that_does_not_answer_is_named(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "orders.txt"
    file.write_bytes(_ORDERS)
    done = _publish(stack, file, "--as", "orders", "--bootstrap", "127.0.0.1:1")
    assert done.returncode == 2
    assert "answers at 127.0.0.1:1" in done.stderr
    assert "'crm up' starts it" in done.stderr


def test_without_a_running_stack_the_command_says_how_to_start_one(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "orders.txt"
    file.write_bytes(_ORDERS)
    command, environment = _command(stack, file, "--as", "orders")
    environment["CRM_LOCAL_DIR"] = str(tmp_path / "elsewhere")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "no stack is running" in done.stderr
