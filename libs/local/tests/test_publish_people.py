"""How lines about people become descriptions of contacts."""

import os
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path

import pytest

from crm_events.adapter import PersonDescribed
from crm_local.publish.lines import read_lines
from crm_local.publish.outcome import Outcome, Refused, Taken
from crm_local.publish.people import COLUMNS, read_people
from crm_local.publish.refusal import FileRefusedError

_SAMPLE_DATA = Path(os.environ.get("CRM_SAMPLE_DATA") or Path(__file__).parents[4] / "shared" / "data")
_HEADER = ", ".join(COLUMNS)
_AS_OF = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _people(content: bytes) -> list[Outcome]:
    return list(read_people(read_lines(BytesIO(content)), _AS_OF))


def _only(line: str) -> Outcome:
    (outcome,) = _people(f"{_HEADER}\n{line}\n".encode())
    return outcome


def _person(line: str) -> PersonDescribed:
    outcome = _only(line)
    assert isinstance(outcome, Taken)
    assert isinstance(outcome.record, PersonDescribed)
    return outcome.record


def test_a_person_has_a_name_an_address_and_a_date_of_birth() -> None:
    person = _person("rec-1-org, lachlan, berry, 69, giblin street, killarney, bittern, 4814, qld, 19990219, 7364009")
    assert person.external_id == "rec-1-org"
    assert (person.given_name, person.family_name) == ("lachlan", "berry")
    assert person.birth_date == date(1999, 2, 19)
    assert person.occurred_at == _AS_OF
    (address,) = person.addresses
    assert address.lines == ("69 giblin street", "killarney")
    assert (address.city, address.region, address.postcode, address.country) == ("bittern", "QLD", "4814", "AU")


def test_nobody_is_recognised_by_the_number_that_must_not_be_used() -> None:
    person = _person("rec-1-org, lachlan, berry, , , , , , , , 7364009")
    assert person.identifiers == ()
    assert "7364009" not in person.model_dump_json()


def test_fields_may_be_empty() -> None:
    person = _person("rec-1-org, , waller, , , , , , , , ")
    assert (person.given_name, person.addresses, person.birth_date) == (None, (), None)


@pytest.mark.parametrize("birth", ["19990230", "199902", "1999021x"])
def test_a_person_with_an_impossible_date_of_birth_is_taken_without_it_and_with_a_warning(birth: str) -> None:
    outcome = _only(f"rec-1-org, lachlan, berry, , , , , , , {birth}, ")
    assert isinstance(outcome, Taken)
    assert isinstance(outcome.record, PersonDescribed)
    assert outcome.record.birth_date is None
    assert outcome.warning is not None
    assert "left out" in outcome.warning
    assert birth not in outcome.warning


def test_a_record_that_describes_nobody_is_refused_with_the_contracts_reason() -> None:
    outcome = _only("rec-1-org, , , 69, giblin street, , bittern, , , 19990219, 7364009")
    assert isinstance(outcome, Refused)
    assert outcome.line.number == 2
    assert outcome.reason == "record: a person needs a name, an organisation or an identifier"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("rec-1-org, lachlan", "the header names 11 fields, this line has 2"),
        ('rec-1-org, "lachlan, berry', "not a line of comma-separated values"),
        (", lachlan, berry, , , , , , , , ", "external_id: "),
        (f"rec-1-org, {'x' * 501}, berry, , , , , , , , ", "given_name: "),
    ],
)
def test_a_malformed_line_is_refused_without_repeating_what_it_held(line: str, reason: str) -> None:
    outcome = _only(line)
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith(reason)
    assert "lachlan" not in outcome.reason


def test_a_file_whose_header_names_other_columns_is_refused_whole() -> None:
    with pytest.raises(FileRefusedError, match="missing or repeated: rec_id, "):
        _people(b"id, name\n1, lachlan\n")


def test_the_same_file_gives_the_same_people_whenever_it_is_read() -> None:
    content = f"{_HEADER}\nrec-1-org, lachlan, berry, , , , , , , , \n".encode()
    assert _people(content) == _people(content)


def test_the_febrl_sample_is_taken_whole() -> None:
    file = _SAMPLE_DATA / "people.csv"
    if not file.exists():
        pytest.skip(f"the FEBRL sample is not at {file}; CRM_SAMPLE_DATA names its folder")
    outcomes = _people(file.read_bytes())
    taken = [each for each in outcomes if isinstance(each, Taken)]
    assert len(outcomes) == len(taken) == len({each.record.external_id for each in taken}) == 1_000
    assert [each.line.number for each in taken if each.warning] == [146, 149, 588]
