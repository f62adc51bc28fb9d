"""Checkpoints: what was signed stays signed, and only this installation can sign."""

import asyncio
import hashlib
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from eventsourcing.persistence import OperationalError
from libs.platform.tests.event_chain.conftest import LOG, Vault
from libs.platform.tests.waiting import eventually, running

from crm_platform.event_chain import signer as signer_module
from crm_platform.event_chain.checkpoint import FIRST_PREVIOUS, LOWEST, Checkpoint, CheckpointKeys, Seal
from crm_platform.event_chain.entries import ENTRY_BYTES, leaf_of, read_entries
from crm_platform.event_chain.signer import CheckpointForgedError, Signer
from crm_platform.metrics import CHAIN_SIGNED_POSITION, CHAIN_UNSIGNED_SECONDS
from crm_platform.sealing import InstallationKey

pytestmark = pytest.mark.integration

STRANGER = CheckpointKeys([InstallationKey(b"s" * 32)])

ALTERATIONS = {
    "after_position": "after_position + 1",
    "position": "position + 1",
    "entries": "set_byte(entries, 50, 255 - get_byte(entries, 50))",
    "previous": "set_byte(previous, 0, 255 - get_byte(previous, 0))",
    "signed_at": "signed_at + interval '1 second'",
    "public_key": "set_byte(public_key, 0, 255 - get_byte(public_key, 0))",
    "signature": "set_byte(signature, 0, 255 - get_byte(signature, 0))",
}


def _seal(vault: Vault) -> Seal:
    head = vault.verify().head
    assert head is not None
    return Seal.of(head)


def _whats(vault: Vault, *kept: Seal, keys: CheckpointKeys | None = None) -> list[str]:
    return [finding.what for finding in vault.verify(*kept, keys=keys).findings]


async def test_a_checkpoint_holds_what_postgresql_and_a_reader_make_alike_of_each_event(signed: Vault) -> None:
    entries = [entry for row in signed.checkpoints() for entry in read_entries(row["entries"])]
    rows = signed.events()
    assert [entry.position for entry in entries] == [row["notification_id"] for row in rows]
    assert [entry.leaf for entry in entries] == [leaf_of(row["topic"], row["state"]) for row in rows]
    assert [(e.stream, e.sequence) for e in entries] == [(r["originator_id"], r["originator_version"]) for r in rows]


async def test_only_what_was_appended_since_is_signed(vault: Vault) -> None:
    vault.note(uuid4(), uuid4())
    vault.sign()
    vault.sign()
    vault.note(uuid4())
    vault.sign()
    assert [len(row["entries"]) // ENTRY_BYTES for row in vault.checkpoints()] == [2, 1]


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("column", ALTERATIONS)
async def test_an_altered_checkpoint_is_told_and_accuses_no_event(signed: Vault, column: str, number: int) -> None:
    signed.intrude(f"UPDATE event_checkpoints SET {column} = {ALTERATIONS[column]} WHERE number = %s", number)  # noqa: S608 - from the table above
    report = signed.verify()
    assert report.first_altered is None
    assert [f"checkpoint {number}, " in finding.what for finding in report.findings] == [True]
    assert "altered" in report.findings[0].what


async def test_beside_an_altered_checkpoint_an_altered_event_is_still_named_by_the_others(signed: Vault) -> None:
    signed.intrude("UPDATE event_checkpoints SET entries = ''::bytea WHERE number = 1")
    row = signed.events()[-1]
    signed.rewrite(row["notification_id"], row["state"] + b" ")
    report = signed.verify()
    assert report.first_altered is not None
    assert report.first_altered.stream == row["originator_id"]
    assert len(report.findings) == 2


async def test_an_event_and_its_checkpoint_rewritten_together_are_noticed(signed: Vault) -> None:
    """By somebody who has the database and not the key."""
    row = signed.events()[-1]
    signed.rewrite(row["notification_id"], row["state"] + b" ")
    signed.intrude("DELETE FROM event_checkpoints WHERE number = 3")
    forge = Signer(signed.shop.events.store, LOG, CheckpointKeys([InstallationKey(b"s" * 32), _own()]), 60)
    assert forge.extend()
    report = signed.verify()
    assert "none of this installation's" in report.findings[0].what
    with pytest.raises(CheckpointForgedError, match=r"checkpoint 3 of crm\.shop"):
        signed.signer().extend()


async def test_a_checkpoint_that_was_taken_away_is_missed(signed: Vault) -> None:
    for number, rest in ((1, [2, 3]), (2, [3])):
        signed.intrude("DELETE FROM event_checkpoints WHERE number = %s", number)
        upto = signed.checkpoints()[0]["position"]
        gap = f"checkpoint {rest[0]}, up to position {upto}, stands behind a gap: number 1 is taken away"
        assert _whats(signed) == [gap]


async def test_the_newest_checkpoint_is_missed_by_who_kept_it(signed: Vault) -> None:
    kept = _seal(signed)
    assert _whats(signed, kept) == []
    signed.intrude("DELETE FROM event_checkpoints WHERE number = 3")
    signed.intrude("DELETE FROM store_events WHERE notification_id = (SELECT max(notification_id) FROM store_events)")
    assert _whats(signed) == [], "who has the database can cut off its end"
    assert _whats(signed, kept) == [f"checkpoint {kept}, which was kept, is taken away"]
    signed.note(uuid4())
    signed.sign()
    assert _whats(signed, kept) == [f"checkpoint {kept}, which was kept, is taken away"]


async def test_a_checkpoint_of_another_log_does_not_count(signed: Vault) -> None:
    other = Signer(signed.shop.events.store, "crm.other", signed.keys, 60)
    signed.intrude("DELETE FROM event_checkpoints")
    assert other.extend()
    assert ["altered" in what for what in _whats(signed)] == [True]


async def test_two_signers_at_once_make_one_chain(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signer_module, "MOST_EVENTS", 3)
    vault.note(*(uuid4() for _ in range(60)))
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(vault.sign) for _ in range(2)]:
            done.result()
    report = vault.verify()
    assert (report.findings, report.checkpoints, report.unsigned) == ([], 20, 0)


async def test_a_signer_that_was_overtaken_signs_behind_the_other(vault: Vault) -> None:
    vault.note(uuid4())

    class Slow(Signer):
        def _insert(self, signed: Checkpoint, entries: bytes) -> None:
            vault.sign()
            super()._insert(signed, entries)

    assert Slow(vault.shop.events.store, LOG, vault.keys, 60).extend()
    assert (len(vault.checkpoints()), vault.verify().findings) == (1, [])


async def test_a_crash_before_a_checkpoint_is_stored_leaves_it_to_the_next_signer(signed: Vault) -> None:
    class Dies(Signer):
        def _insert(self, signed: Checkpoint, entries: bytes) -> None:  # noqa: ARG002 - as the signer's own
            raise OperationalError("the process dies here")

    signed.note(uuid4())
    with pytest.raises(OperationalError):
        Dies(signed.shop.events.store, LOG, signed.keys, 60).extend()
    signed.sign()
    report = signed.verify()
    assert (report.findings, report.checkpoints, report.unsigned) == ([], 4, 0)


async def test_a_checkpoint_holds_no_more_bytes_than_it_may_but_one_event_at_least(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signer_module, "MOST_BYTES", 2_000)
    vault.note(uuid4(), text="x" * 9_000)
    vault.note(*(uuid4() for _ in range(6)))
    vault.sign()
    sizes = [len(row["entries"]) // ENTRY_BYTES for row in vault.checkpoints()]
    assert sizes[0] == 1
    assert 1 < sizes[1] < 6
    assert (sum(sizes), vault.verify().findings) == (7, [])


async def test_after_a_change_of_the_installation_key_the_new_one_vouches_for_the_old(signed: Vault) -> None:
    new = InstallationKey(b"n" * 32)
    with pytest.raises(CheckpointForgedError, match="former key"):
        signed.sign(CheckpointKeys([new]))
    signed.sign(CheckpointKeys([new, _own()]))
    assert len(signed.checkpoints()) == 4, "it signs what stands, also where nothing was appended"
    for keys in (CheckpointKeys([new]), CheckpointKeys([new, _own()])):
        assert _whats(signed, keys=keys) == []
    assert ["none of this" in what for what in _whats(signed)] == [True], "the old key alone counts no more"
    signed.note(uuid4())
    signed.sign(CheckpointKeys([new]))
    row = signed.events()[0]
    signed.rewrite(row["notification_id"], row["state"] + b" ")
    report = signed.verify(keys=CheckpointKeys([new]))
    assert report.first_altered is not None
    assert report.first_altered.position == row["notification_id"]


async def test_a_strangers_checkpoint_in_front_of_ours_is_vouched_for_by_none(signed: Vault) -> None:
    row, first = signed.events()[0], signed.checkpoints()[0]
    signed.rewrite(row["notification_id"], row["state"] + b" ")
    entries = _entry(signed.events()[0]) + first["entries"][ENTRY_BYTES:]
    digest = hashlib.sha256(entries).digest()
    forged = STRANGER.signed(
        Checkpoint(LOG, 1, LOWEST, first["position"], digest, FIRST_PREVIOUS, first["signed_at"], STRANGER.public)
    )
    signed.intrude(
        "UPDATE event_checkpoints SET entries = %s, public_key = %s, signature = %s WHERE number = 1",
        entries, forged.public_key, forged.signature,
    )  # fmt: skip
    assert forged.is_genuine()
    report = signed.verify()
    assert "none of this installation's" in report.findings[0].what
    assert report.first_altered is not None
    assert report.first_altered.position == row["notification_id"]


def _entry(row: dict[str, Any]) -> bytes:
    numbers = row["notification_id"], row["originator_id"].bytes, row["originator_version"]
    return struct.pack(">q16sq", *numbers) + leaf_of(row["topic"], row["state"])


async def test_the_signer_signs_at_its_start_at_intervals_and_when_it_is_stopped(vault: Vault) -> None:
    vault.note(uuid4())
    async with running(vault.signer(every_seconds=0.05).run):
        await eventually(lambda: vault.verify().unsigned == 0)
        await asyncio.to_thread(vault.note, uuid4())
        await eventually(lambda: len(vault.checkpoints()) == 2)
    assert CHAIN_SIGNED_POSITION._value.get() == vault.events()[-1]["notification_id"]
    async with running(vault.signer(every_seconds=3_600).run):
        await asyncio.to_thread(vault.note, uuid4())
        assert 0 <= next(iter(CHAIN_UNSIGNED_SECONDS.collect())).samples[0].value < 30
    assert len(vault.checkpoints()) == 3
    assert vault.verify().unsigned == 0


async def test_a_signer_that_finds_a_forged_checkpoint_says_so_and_goes_on_looking(
    signed: Vault, log_of: Callable[[ModuleType], list[Any]]
) -> None:
    logged = log_of(signer_module)
    signed.intrude("UPDATE event_checkpoints SET signed_at = now() WHERE number = 3")
    async with running(signed.signer(every_seconds=0.05).run):
        await eventually(lambda: [entry["event"] for entry in logged].count("checkpoint_forged") > 2)
    assert len(signed.checkpoints()) == 3


async def test_each_checkpoint_is_told_to_the_log_as_it_is_to_be_kept(
    vault: Vault, log_of: Callable[[ModuleType], list[Any]]
) -> None:
    logged = log_of(signer_module)
    vault.note(uuid4())
    vault.sign()
    assert [entry["seal"] for entry in logged if entry["event"] == "checkpoint_signed"] == [str(_seal(vault))]
    assert Seal.read(str(_seal(vault))) == _seal(vault)


@pytest.mark.parametrize(
    "text", ["", "3", "crm.shop/3", "crm.shop/3:x", "crm.shop/-1:" + "x" * 43, "crm.shop/٣:" + "x" * 43]
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="LOG/NUMBER:DIGEST"):
        Seal.read(text)


def _own() -> InstallationKey:
    return InstallationKey(b"i" * 32)
