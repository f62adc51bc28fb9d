"""The mutants still fit the code: each changes what it means to change, and its row exists."""

import re
from pathlib import Path

import pytest
from tests.faults.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).parents[3]
ROWS = (
    "F01", "F02", "F03", "F04", "F05", "F07", "F08", "F09", "F10", "F11", "F12", "F13", "F14", "F15", "F16", "F17",
    "F22", "F23", "F24", "F25", "F26", "F27", "F28", "F29", "F33", "F36", "F38",
    "relays", "restore", "storm", "truncated",
)  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_changes_one_place_and_its_row_exists(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text()
    assert source.count(mutant.search) == 1, f"{mutant.search!r} stands {source.count(mutant.search)} times"
    compile(source.replace(mutant.search, mutant.replacement), mutant.file, "exec")
    file, _, name = mutant.caught_by.partition("::")
    text = (ROOT / file).read_text()
    assert re.search(rf"def {name or 'test_'}", text), f"{file} has no {name}"


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_been_seen_to_fail(row: str) -> None:
    assert any(row in mutant.row.split() for mutant in MUTANTS)
