"""A verification names the first event that is not as it was written, and accuses nobody else."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from libs.platform.tests.event_chain.conftest import LOG, Vault

from crm_events.envelope import event_id
from crm_platform.event_chain import findings, verification
from crm_platform.event_chain.checkpoint import CheckpointKeys
from crm_platform.event_chain.findings import Report
from crm_platform.event_chain.verification import NotVerifiableError, verify
from crm_platform.sealing import InstallationKey
from crm_platform.testing import story_id

pytestmark = pytest.mark.integration

some = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _id_of(row: dict[str, Any]) -> UUID:
    return event_id(row["originator_id"], row["originator_version"])


def _named(vault: Vault) -> UUID | None:
    first = vault.verify().first_altered
    return first.id if first else None


async def test_an_untouched_store_is_verified_and_its_extent_is_told(signed: Vault) -> None:
    report = signed.verify()
    assert report.findings == []
    assert (report.events, report.checkpoints, report.unsigned, report.unlinked) == (len(signed.events()), 3, 0, 0)
    assert report.head is not None
    assert report.head.position == signed.events()[-1]["notification_id"]


def _verified_with_a_bit_flipped(vault: Vault, row: dict[str, Any], data: st.DataObject) -> Report:
    """What is found while one bit of the event's state is another; afterwards it is as it was."""
    state = bytearray(row["state"])
    state[data.draw(st.integers(0, len(state) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    vault.rewrite(row["notification_id"], bytes(state))
    try:
        return vault.verify()
    finally:
        vault.rewrite(row["notification_id"], row["state"])


async def test_any_bit_that_is_flipped_in_any_signed_event_names_that_event(signed: Vault) -> None:
    rows = signed.events()

    @some
    @given(st.data())
    def flip(data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(rows))
        report = _verified_with_a_bit_flipped(signed, row, data)
        assert [finding.event and finding.event.id for finding in report.findings] == [_id_of(row)]

    flip()
    assert signed.verify().is_unaltered


async def test_any_bit_that_is_flipped_before_it_is_signed_is_noticed_by_the_event_behind(vault: Vault) -> None:
    streams = [uuid4() for _ in range(3)]
    vault.store(*streams, times=2)
    followed = [row for row in vault.events() if row["originator_version"] < 5]

    @some
    @given(st.data())
    def flip(data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(followed))
        report = _verified_with_a_bit_flipped(vault, row, data)
        # Without a signature an altered link looks as if the event before it were altered.
        accused = [finding.event and finding.event.id for finding in report.findings]
        assert _id_of(row) in accused
        assert {*accused} <= {_id_of(row), event_id(row["originator_id"], row["originator_version"] - 1)}

    flip()
    assert vault.verify().is_unaltered


@pytest.mark.parametrize(
    "rewritten",
    [
        lambda state: state.replace(b'":"', b'": "', 1),
        lambda state: state + b"\n",
        lambda state: state.replace(b'"gift"', rb'"\u0067ift"'),
        lambda state: orjson.dumps(orjson.loads(state), option=orjson.OPT_SORT_KEYS),
    ],
    ids=["space", "end of line", "escape", "order"],
)
async def test_an_event_that_says_the_same_in_other_bytes_is_altered(
    signed: Vault, rewritten: Callable[[bytes], bytes]
) -> None:
    row = next(row for row in signed.events() if b'"gift"' in row["state"])
    other = rewritten(row["state"])
    assert other != row["state"]
    assert orjson.loads(other) == orjson.loads(row["state"])
    signed.rewrite(row["notification_id"], other)
    assert _named(signed) == _id_of(row)


@pytest.mark.parametrize("which", [0, 1, 4, -1], ids=["first", "second", "alone in its stream", "last of all"])
async def test_a_deleted_event_is_named(signed: Vault, which: int) -> None:
    row = signed.events()[which]
    signed.intrude("DELETE FROM store_events WHERE notification_id = %s", row["notification_id"])
    report = signed.verify()
    assert report.first_altered is not None
    assert (report.first_altered.id, report.first_altered.position) == (_id_of(row), row["notification_id"])
    assert len(report.findings) == 1


async def test_all_events_of_a_stream_deleted_are_all_named(signed: Vault) -> None:
    stream = signed.events()[0]["originator_id"]
    rows = [row for row in signed.events() if row["originator_id"] == stream]
    signed.intrude("DELETE FROM store_events WHERE originator_id = %s", stream)
    assert [f.event and f.event.id for f in signed.verify().findings] == [_id_of(row) for row in rows]


async def test_an_event_missing_in_the_middle_of_an_unsigned_stream_is_named(vault: Vault) -> None:
    stream = uuid4()
    vault.note(stream, stream, stream)
    vault.intrude("DELETE FROM store_events WHERE originator_version = 2")
    assert _named(vault) == event_id(stream, 2)


async def test_swapped_contents_name_the_first_of_the_two(signed: Vault) -> None:
    one, other = signed.events()[1], signed.events()[5]
    signed.rewrite(one["notification_id"], other["state"])
    signed.rewrite(other["notification_id"], one["state"])
    assert [f.event and f.event.id for f in signed.verify().findings] == [_id_of(one), _id_of(other)]


async def test_swapped_positions_name_the_first_of_the_two(signed: Vault) -> None:
    one, other = signed.events()[1], signed.events()[5]
    swap = "UPDATE store_events SET notification_id = %s WHERE notification_id = %s"
    at = one["notification_id"], other["notification_id"]
    for to, now in ((10_000, at[0]), (at[0], at[1]), (at[1], 10_000)):
        signed.intrude(swap, to, now)
    assert _named(signed) == _id_of(one)


async def test_unsigned_events_of_one_stream_in_the_wrong_order_are_noticed(vault: Vault) -> None:
    stream = uuid4()
    vault.note(stream, stream)
    vault.intrude("UPDATE store_events SET notification_id = 100 WHERE originator_version = 1")
    assert _named(vault) == event_id(stream, 2)


async def test_an_event_that_is_made_private_is_named(signed: Vault) -> None:
    row = signed.events()[0]
    signed.intrude("UPDATE store_events SET topic = 'private:' || topic WHERE notification_id = 1")
    assert _named(signed) == _id_of(row)


@pytest.mark.parametrize("position", [-(2**63) + 1, 0, "in a gap"])
async def test_an_event_put_among_those_that_are_signed_is_named(vault: Vault, position: int | str) -> None:
    vault.note(uuid4(), uuid4())
    vault.intrude("SELECT nextval(pg_get_serial_sequence('store_events', 'notification_id'))")
    vault.note(uuid4())
    vault.sign()
    forged, place = story_id("forged"), 3 if isinstance(position, str) else position
    assert place not in {row["notification_id"] for row in vault.events()}
    genuine = vault.events()[0]
    state = genuine["state"].replace(str(genuine["originator_id"]).encode(), str(forged).encode())
    state = state.replace(str(_id_of(genuine)).encode(), str(event_id(forged, 1)).encode())
    insert = "INSERT INTO store_events VALUES (%s, 1, %s, %s, %s)"
    vault.intrude(insert, forged, genuine["topic"], state, place)
    report = vault.verify()
    assert [finding.event and finding.event.id for finding in report.findings] == [event_id(forged, 1)]
    assert "not there when" in report.findings[0].what


async def test_what_is_altered_before_it_is_signed_is_noticed_afterwards_too(vault: Vault) -> None:
    stream = uuid4()
    vault.note(stream, stream)
    first, second = vault.events()
    vault.rewrite(first["notification_id"], first["state"].replace(b"gift", b"GIFT"))
    vault.sign()
    report = vault.verify()
    assert [finding.event and finding.event.id for finding in report.findings] == [_id_of(first)]
    assert str(_id_of(second)) in report.findings[0].what


async def test_an_unsigned_event_that_does_not_fit_a_signed_one_is_the_altered_one(vault: Vault) -> None:
    stream = uuid4()
    vault.note(stream)
    vault.sign()
    vault.note(stream)
    row = vault.events()[1]
    at = row["state"].index(b'previoushash":"') + 16
    vault.rewrite(row["notification_id"], row["state"][:at] + b"~" + row["state"][at + 1 :])
    assert _named(vault) == _id_of(row)


@pytest.mark.parametrize("column", ["originator_id", "originator_version"])
async def test_an_unsigned_event_that_was_moved_elsewhere_is_noticed(vault: Vault, column: str) -> None:
    vault.note(uuid4())
    value: Any = uuid4() if column == "originator_id" else 2
    vault.intrude(f"UPDATE store_events SET {column} = %s", value)  # noqa: S608 - a column of the table
    assert not vault.verify().is_unaltered


async def test_events_of_an_older_release_are_counted_and_signed_with_the_others(vault: Vault) -> None:
    stream = uuid4()
    vault.store_as_before(stream)
    vault.note(stream)
    assert (vault.verify().findings, vault.verify().unlinked) == ([], 1)
    first, last_of_old, _ = vault.events()
    for row in (last_of_old, first):
        vault.sign()
        vault.rewrite(row["notification_id"], row["state"].replace(b"old", b"new"))
        assert _named(vault) == _id_of(row)


async def test_a_store_whose_keys_are_destroyed_is_verified_as_before(signed: Vault) -> None:
    assert signed.intrude("DELETE FROM subject_keys") > 0
    assert signed.verify().is_unaltered


async def test_events_that_are_not_signed_yet_are_counted(signed: Vault) -> None:
    signed.note(uuid4(), uuid4())
    report = signed.verify()
    assert (report.is_unaltered, report.unsigned) == (True, 2)
    assert any("2 events are under no signature yet" in line for line in report.lines())


async def test_a_store_is_verified_while_it_is_written_to_and_signed(vault: Vault) -> None:
    streams = [uuid4() for _ in range(5)]

    def write() -> None:
        for number in range(60):
            vault.note(*streams, uuid4(), text=str(number))
            if number % 7 == 0:
                vault.sign()

    writing = asyncio.create_task(asyncio.to_thread(write))
    verified = []
    while not writing.done():
        report = await asyncio.to_thread(vault.verify)
        assert report.findings == []
        verified.append(report.events)
    await writing
    assert len(verified) > 2
    assert verified == sorted(verified)
    assert vault.verify().events == 360


async def test_more_events_than_a_page_holds_are_verified_and_progress_is_told(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crm_platform.event_chain.rows.PAGE_EVENTS", 7)
    monkeypatch.setattr("crm_platform.event_chain.verification.PAGE_EVENTS", 7)
    monkeypatch.setattr("crm_platform.event_chain.signer.MOST_EVENTS", 3)
    vault.store(*(uuid4() for _ in range(6)), times=2)
    vault.sign()
    told: list[tuple[int, int]] = []
    report = verify(vault.shop.uri, LOG, vault.keys.trusted, progress=lambda *at: told.append(at))
    assert (report.findings, report.events, report.checkpoints) == ([], 30, 10)
    assert told == [(7, 30), (14, 30), (21, 30), (28, 30)]


async def test_a_report_of_very_many_findings_is_cut_short_and_says_so(
    signed: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "MOST_FINDINGS", 5)
    monkeypatch.setattr(findings, "SHOWN", 2)
    signed.intrude("UPDATE store_events SET state = state || ' '::bytea")
    report = signed.verify()
    assert (len(report.findings), report.complete) == (5, False)
    assert report.lines()[3] == "  and 3 more, then it was given up"


async def test_a_report_names_the_event_in_full(signed: Vault) -> None:
    row = signed.events()[0]
    signed.rewrite(row["notification_id"], row["state"].replace(b"test", b"TEST", 1) + b" ")
    line = signed.verify().lines()[0]
    stream = row["originator_id"]
    assert line == (
        f"{LOG}: ALTERED: the first altered is event {event_id(stream, 1)} ({row['topic']}) at position 1,"
        f" sequence 1 of stream {stream}"
    )


async def test_a_database_that_was_never_opened_by_a_service_is_refused(postgres_uri: str, keys: object) -> None:  # noqa: ARG001 - the infrastructure
    with pytest.raises(NotVerifiableError, match="never started"):
        verify(postgres_uri, LOG, frozenset())


async def test_a_database_that_is_away_is_refused(vault: Vault) -> None:
    with pytest.raises(NotVerifiableError, match="does not answer"):
        verify("postgresql://nobody@127.0.0.1:1/nothing", LOG, vault.keys.trusted)


async def test_the_keys_of_another_installation_do_not_count(signed: Vault) -> None:
    other = CheckpointKeys([InstallationKey(b"o" * 32)])
    report = signed.verify(keys=other)
    assert report.first_altered is None
    assert all("none of this installation's" in finding.what for finding in report.findings)
    assert len(report.findings) == 3
