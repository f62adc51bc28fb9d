"""Who alters a stored event in the database is found out, by the command line and by the service's own job."""

import asyncio
import os
import re
import subprocess
import sys
from uuid import UUID

import psycopg
from door import Door
from replaced import replaced

from crm_events.envelope import event_id
from crm_local.process import environment_of
from crm_local.stack import Stack

ENDS_WITHIN = 20.0
KEPT = re.compile(r"to be kept elsewhere: (\S+)")


def verify_chain(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "crm_local", "verify", "--chain", *arguments]
    environment = {**os.environ, "CRM_LOCAL_DIR": str(stack.folder.root)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def own_job(stack: Stack, service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"crm_{service}", "verify-chain", *arguments]
    environment = environment_of(stack.addresses.part(service).launch())
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def overwrite(stack: Stack, stream: str, state: bytes) -> bytes:
    """Put other bytes in the place of the stream's first event; returns what stood there."""
    with psycopg.connect(stack.addresses.postgres_uri("sales")) as connection:
        row = connection.execute(
            "UPDATE store_events SET state = %s WHERE originator_id = %s AND originator_version = 1"
            " RETURNING old.state",
            (state, stream),
        ).fetchone()
    assert row is not None
    return bytes(row[0])


async def test_an_altered_event_is_named_and_a_kept_checkpoint_is_looked_for(crm: Door) -> None:
    stack = crm.stack
    async with replaced(stack, "sales") as sales:
        await sales.start()
        lead = {"party": {"email": "tamper@example.org"}, "source": "tampering"}
        stream = (await crm.post("/api/leads", lead, role="sales")).expect(201).id
        await sales.terminate(ENDS_WITHIN)
        untouched = await asyncio.to_thread(verify_chain, stack, "sales")
        assert (untouched.returncode, untouched.stderr) == (0, "")
        assert "none altered" in untouched.stdout
        assert "under no signature" not in untouched.stdout, "a process that stops signs what it stored"
        kept = KEPT.search(untouched.stdout)
        assert kept is not None
        assert (await asyncio.to_thread(verify_chain, stack, "sales", "--kept", kept[1])).returncode == 0

        genuine = await asyncio.to_thread(overwrite, stack, stream, b"{}")
        for told in (verify_chain(stack), own_job(stack, "sales", "--kept", kept[1])):
            assert told.returncode == 1, told.stderr
            assert f"crm.sales: ALTERED: the first altered is event {event_id(UUID(stream), 1)}" in told.stdout
        await asyncio.to_thread(overwrite, stack, stream, genuine)
    assert (await asyncio.to_thread(verify_chain, stack)).returncode == 0


async def test_what_cannot_be_verified_is_refused_with_two(crm: Door) -> None:
    gateway = await asyncio.to_thread(own_job, crm.stack, "gateway")
    assert (gateway.returncode, gateway.stdout) == (2, "")
    assert "stores no events" in gateway.stderr
    digest = "x" * 43
    strange = await asyncio.to_thread(own_job, crm.stack, "sales", "--kept", f"crm.service/1:{digest}")
    assert (strange.returncode, "no checkpoint of crm.sales" in strange.stderr) == (2, True)


async def test_a_question_that_makes_no_sense_is_refused_in_a_sentence(crm: Door) -> None:
    for arguments, why in (
        (("gateway",), "gateway stores no events: there are contacts"),
        (("--kept", "3"), "is no checkpoint as a verification prints it"),
        (("--kept", f"crm.none/1:{'x' * 43}"), "no service stores crm.none"),
    ):
        told = await asyncio.to_thread(verify_chain, crm.stack, *arguments)
        assert told.returncode == 1
        assert why in told.stderr
        assert "Traceback" not in told.stderr
