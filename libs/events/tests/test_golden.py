"""What any release has stored, today's release reads.

A golden file holds events as the release stored them that first had their type and version, and, under `opened`, what
stood in their personal blocks. It is never edited: SHA256SUMS says so.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from crm_events import EVENTS, REGISTRY
from crm_events.envelope import from_document, to_document
from crm_events.schemas import schema_of, schemas

FOLDER = Path(__file__).parent / "golden"
FILES = sorted(FOLDER.glob("*.json"))
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type_name())


def golden(file: Path) -> dict[str, list[dict[str, Any]]]:
    held: dict[str, list[dict[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))
    return held


def says_no_less(written: Any, stored: Any) -> bool:
    """Whether all that was stored is said again; a member added since may stand beside it, with its default."""
    if isinstance(stored, dict):
        return isinstance(written, dict) and all(
            name in written and says_no_less(written[name], value) for name, value in stored.items()
        )
    if isinstance(stored, list):
        return isinstance(written, list) and len(written) == len(stored) and all(map(says_no_less, written, stored))
    return bool(written == stored)


def test_every_released_version_has_a_golden_file() -> None:
    assert [file.stem for file in FILES] == schemas()


def test_no_golden_file_was_edited() -> None:
    lines = (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    assert len(listed) == len(lines), "a golden file is listed once; a second line would hide an edit"

    assert listed.keys() == {file.name for file in FILES}, (
        "a new golden file is added to the list once, in its folder: sha256sum NAME >> SHA256SUMS"
    )
    edited = [file.name for file in FILES if hashlib.sha256(file.read_bytes()).hexdigest() != listed[file.name]]
    assert edited == [], "these were edited, and events like those they held are stored; take the edit back"


@every_file
def test_todays_reader_reads_what_was_stored(file: Path) -> None:
    documents = golden(file)["documents"]

    assert documents
    for document in documents:
        event = from_document(document, REGISTRY)
        assert document["type"] == file.stem
        assert document["type"] in (*event.data.older_type_names(), event.data.type_name())
        envelope = {name: value for name, value in to_document(event).items() if name not in ("data", "type")}
        stored = {name: document[name] for name in envelope}
        if event.sequence:
            assert envelope == stored, "nothing of the envelope changes with the version"


@every_file
def test_what_was_stored_fits_the_schema_that_was_released(file: Path) -> None:
    validator = Draft202012Validator(schema_of(file.stem) or False, format_checker=Draft202012Validator.FORMAT_CHECKER)

    for document in golden(file)["documents"]:
        validator.validate(document["data"])


@every_event
def test_what_was_stored_in_todays_version_would_be_stored_so_again(event: type[Any]) -> None:
    for document in golden(FOLDER / f"{event.type_name()}.json")["documents"]:
        assert says_no_less(to_document(from_document(document, REGISTRY))["data"], document["data"])


@every_event
def test_what_was_sealed_is_read_when_it_is_opened(event: type[Any]) -> None:
    for name in (*event.older_type_names(), event.type_name()):
        blocks = golden(FOLDER / f"{name}.json").get("opened", [])
        assert bool(blocks) == (event.personal_field is not None)
        for block in blocks:
            opened = event.personal_class().model_validate_json(json.dumps(block), extra="ignore")
            assert says_no_less(opened.model_dump(mode="json", exclude_none=True), block)


def test_an_edit_would_be_noticed() -> None:
    assert says_no_less({"a": [{"b": 1, "new": None}]}, {"a": [{"b": 1}]})
    assert not says_no_less({"a": []}, {"a": [1]})
    assert not says_no_less({"a": 1}, {"b": 1})
    assert not says_no_less(2, 1)
