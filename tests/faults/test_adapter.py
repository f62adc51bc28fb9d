"""F01 at the door: an adapter that dies again and again, and begins its file anew each time."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.faults.rig import Rig

from crm_events.adapter import InteractionRecorded

KILLS = 20 if os.environ.get("NIGHTLY") else 4
LINES = 4_000
NAME = "faults"
RUNS_WITHIN = 60.0


@pytest.mark.row("F01", f"kill -9 of an adapter (crm publish), {KILLS} times", "I1-I6 I8 I10, each line once")
async def test_an_adapter_that_dies_and_begins_anew_has_each_record_once(rig: Rig, tmp_path: Path) -> None:
    file, streams = tmp_path / "interactions.jsonl", []
    with file.open("w") as lines:
        for _ in range(LINES):
            record, stream = _record()
            streams.append(stream)
            lines.write(json.dumps(record) + "\n")
    command = [sys.executable, "-P", "-m", "crm_local", "publish", str(file), "--as=jsonl", f"--source={NAME}"]
    command.append(f"--bootstrap={rig.stack.addresses.kafka_bootstrap}")
    async with rig.under_load(writers=2) as trial:
        for _ in range(KILLS):
            await _killed_in_the_middle(rig, command)
        done = await asyncio.to_thread(subprocess.run, command, timeout=RUNS_WITHIN, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        trial.load.interactions.update(dict.fromkeys(streams, NAME))
        trial.repaired()


async def _killed_in_the_middle(rig: Rig, command: list[str]) -> None:
    """Starts the adapter and kills it once it has written something."""
    before = await _written(rig)
    process = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + RUNS_WITHIN
    while await _written(rig) < before + rig.random.randrange(50, 500) and process.poll() is None:
        assert time.monotonic() < deadline, "the adapter writes nothing"
    process.kill()
    await asyncio.to_thread(process.wait)


async def _written(rig: Rig) -> int:
    return sum(end for (topic, _), end in (await rig.reality.ends()).items() if topic == "crm.interactions")


def _record() -> tuple[dict[str, object], UUID]:
    record: dict[str, object] = {
        "external_id": uuid4().hex,
        "occurred_at": "2026-03-01T10:00:00Z",
        "channel": "email",
        "direction": "inbound",
        "party": {"handle": uuid4().hex},
    }
    return record, InteractionRecorded.model_validate(record).identity(f"/adapters/{NAME}")
