"""After an erasure the files of the servers hold nothing that the person said, nor a key with which it can be read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from command_line import crm_command
from door import Door, eventually
from person import erased
from tests.erasure.disk import files_with, words_in
from tests.erasure.forced import files_change_every_second, on_disk, tables_files, vacuumed, write_behind_keys
from tests.erasure.kept_keys import KeptKeys, keys_of
from tests.erasure.planted import Planted
from tests.erasure.resync import resynced

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

WORDS = 50
STORES = {"kafka": "data/kafka/", "mongodb": "data/mongodb/", "postgres": "data/postgres/"}
INTERACTIONS_FILES = "data/kafka/crm.interactions-"
KEY_OWNERS = ("contacts", "sales", "service")
WAL = "data/postgres/pg_wal/"
CLEAR_TABLES = ("parked_events", "discarded_events")
"""They keep what adapters wrote as it was read."""


@dataclass(frozen=True)
class Story:
    """Two persons who said the same kind of things, the folder of all servers, and what was found of the first."""

    ada: Planted
    bob: Planted
    root: Path
    keys: KeptKeys
    view: Any
    words_at: set[str]
    """The files that held something of hers before the erasure; `keys_at` those that held her keys."""
    keys_at: set[str]
    clear_words: set[str]
    clear_tables: set[str]
    """The files of the tables that may hold plain words; `key_tables` of those that keep wrapped keys."""
    key_tables: set[str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def story(crm: Door, adapter: AIOKafkaProducer) -> Story:
    """Told up to the end of the erasure, and until everything is tidied up."""
    stack, root = crm.stack, crm.stack.folder.root
    await files_change_every_second(stack)
    ada, bob = Planted(crm, adapter), Planted(crm, adapter)
    for person in (ada, bob):
        await person.tells()
        await person.is_parked(stack)
    campaign = {"name": bob.words("campaign"), "channel": "email"}
    (await crm.post("/api/campaigns", campaign, role="marketing")).expect(201)
    await on_disk(stack)
    keys = await keys_of(stack, ada.subjects)
    told = Story(
        ada,
        bob,
        root,
        keys,
        await _view(crm, ada),
        words_at=files_with(root, *ada.words.marks),
        keys_at=files_with(root, *keys.wrapped),
        clear_words=words_in(root, ada.in_the_clear),
        clear_tables=await _files_of(crm, "contacts", *CLEAR_TABLES),
        key_tables={file for service in KEY_OWNERS for file in await _files_of(crm, service, "subject_keys")},
    )
    await erased(crm, ada.contact_id)
    await _tidied_up(crm, told, adapter)
    return told


async def _tidied_up(crm: Door, told: Story, adapter: AIOKafkaProducer) -> None:
    await vacuumed(crm.stack)

    async def kafka_has_deleted_its_files() -> bool:
        await told.bob.writes_to_every_partition()
        await write_behind_keys(crm.stack, adapter)
        return not files_with(told.root / "data" / "kafka", *told.ada.words.marks, *told.keys.wrapped)

    await eventually(kafka_has_deleted_its_files, "the old files of Kafka are gone", within=120.0, every=1.0)
    await resynced(crm.stack)
    await on_disk(crm.stack)


async def _files_of(crm: Door, service: str, *tables: str) -> set[str]:
    return {f"{STORES['postgres']}{file}" for file in await tables_files(crm.stack, service, *tables)}


def _without_wal(files: set[str]) -> set[str]:
    return {file for file in files if not file.startswith(WAL)}


async def _view(crm: Door, person: Planted) -> Any:
    return (await crm.get(f"/api/customers/{person.contact_id}")).expect(200).body


# -- the search finds what is there


async def test_plain_words_stood_only_where_adapters_words_are_taken_in(story: Story) -> None:
    assert len(story.ada.words.said) == WORDS
    assert story.clear_words == set(story.ada.in_the_clear), "each is found whole"
    elsewhere = {file for file in story.words_at if not file.startswith(INTERACTIONS_FILES)}
    assert len(elsewhere) < len(story.words_at)
    assert story.clear_tables <= elsewhere, "also what is parked, and what was discarded"
    assert _without_wal(elsewhere) == story.clear_tables


async def test_wrapped_keys_stood_in_all_three_stores_and_bare_ones_nowhere(story: Story) -> None:
    assert len(story.keys.bare) == len(story.ada.subjects)
    for store, folder in STORES.items():
        assert any(file.startswith(folder) for file in story.keys_at), store
    in_postgres = {file for file in story.keys_at if file.startswith(STORES["postgres"])}
    assert _without_wal(in_postgres) == story.key_tables
    assert files_with(story.root, *story.keys.bare) == set()


async def test_what_somebody_else_said_is_found_after_all_that(crm: Door, story: Story) -> None:
    found = files_with(story.root, *story.bob.words.marks)
    for store, folder in STORES.items():
        assert any(file.startswith(folder) for file in found), store
    assert await _files_of(crm, "contacts", *CLEAR_TABLES) <= found
    assert any(file.startswith(INTERACTIONS_FILES) for file in found)
    for lot in story.bob.parked:
        shown = (await crm.get(f"/api/parked/{lot}", role="admin")).expect(200)
        assert story.bob.words.mark in str(shown.body)


# -- nothing of hers


async def test_none_of_her_words_is_left_in_any_file(story: Story) -> None:
    assert files_with(story.root, *story.ada.words.marks) == set()


async def test_none_of_her_keys_is_left_in_any_file(story: Story) -> None:
    assert files_with(story.root, *story.keys.wrapped, *story.keys.bare) == set()


async def test_no_parking_lot_shows_a_word_of_hers(crm: Door, story: Story) -> None:
    for lot in story.ada.parked:
        assert (await crm.get(f"/api/parked/{lot}", role="admin")).is_problem(404)
    listed = await crm_command(crm.stack, "parked", "list", "--json")
    assert listed.code == 0, listed
    assert len(json.loads(listed.output)["items"]) == len(story.bob.parked)
    assert not [mark for mark in story.ada.words.marks if mark in listed.output]


# -- and everything else as it was


async def test_the_log_verifies_and_is_read_from_its_beginning(crm: Door, story: Story) -> None:
    verified = await crm_command(crm.stack, "verify", "--chain")
    assert verified.code == 0, verified
    before = await _view(crm, story.ada)
    assert (before["erased"], before["profile"], before["totals"]) == (True, None, story.view["totals"])
    for read_model in ("gateway.customers", "contacts.contacts"):
        rebuilt = await crm_command(crm.stack, "rebuild", read_model)
        assert rebuilt.code == 0, rebuilt
        assert "none differs" in rebuilt.output
    after = await _view(crm, story.ada)
    assert {**after, "freshness": None} == {**before, "freshness": None}
    assert files_with(story.root, *story.ada.words.marks, *story.keys.wrapped) == set()
