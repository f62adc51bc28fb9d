"""People as the FEBRL record linkage benchmark writes them: a header, then fields separated by comma and space.

`soc_sec_id` is never read: nobody is to be recognised by it.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime

from crm_events.adapter import PersonDescribed
from crm_events.parties import Address
from crm_local.publish.lines import Line
from crm_local.publish.outcome import Outcome, Reading, outcomes
from crm_local.publish.refusal import FileRefusedError, LineRefusedError

SOURCE = "people"
COLUMNS = (
    "rec_id",
    "given_name",
    "surname",
    "street_number",
    "address_1",
    "address_2",
    "suburb",
    "postcode",
    "state",
    "date_of_birth",
    "soc_sec_id",
)
_COUNTRY = "AU"
_DATE = re.compile(r"[0-9]{8}", re.ASCII)


def read_people(lines: Iterable[Line], as_of: datetime) -> Iterator[Outcome]:
    """Each line after the header is a person, described as they were `as_of`.

    A date of birth that no calendar has is left out with a warning; the person is taken.
    Raises FileRefusedError if the first line does not name the columns.
    """
    remaining = iter(lines)
    header = _header(remaining)
    return outcomes(remaining, lambda line: _person(_fields(line, header), as_of))


def _header(lines: Iterator[Line]) -> list[str]:
    first = next(lines, None)
    if first is None:
        return []
    try:
        header = _split(first)
    except LineRefusedError as refusal:
        raise FileRefusedError(f"line {first.number}: {refusal}") from refusal
    missing = [name for name in COLUMNS if header.count(name) != 1]
    if missing:
        raise FileRefusedError(
            f"line {first.number} must name each column once, separated by commas; missing or repeated: "
            f"{', '.join(missing)}"
        )
    return header


def _fields(line: Line, header: list[str]) -> Mapping[str, str | None]:
    values = _split(line)
    if len(values) != len(header):
        raise LineRefusedError(f"the header names {len(header)} fields, this line has {len(values)}")
    return {name: value or None for name, value in zip(header, values, strict=True)}


def _split(line: Line) -> list[str]:
    try:
        return [value.strip() for value in next(csv.reader([line.text()], skipinitialspace=True, strict=True))]
    except csv.Error as error:
        raise LineRefusedError("not a line of comma-separated values: a quotation mark is out of place") from error


def _person(fields: Mapping[str, str | None], as_of: datetime) -> Reading:
    birth_date, warning = _birth_date(fields["date_of_birth"])
    address = _address(fields)
    person = PersonDescribed(
        external_id=fields["rec_id"] or "",
        occurred_at=as_of.astimezone(UTC),
        given_name=fields["given_name"],
        family_name=fields["surname"],
        birth_date=birth_date,
        addresses=(address,) if address else (),
    )
    return Reading(person, warning)


def _birth_date(text: str | None) -> tuple[date | None, str | None]:
    if text is None:
        return None, None
    try:
        if _DATE.fullmatch(text):
            return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date(), None
    except ValueError:
        return None, "date_of_birth is no day of the calendar and was left out"
    return None, "date_of_birth is not eight digits (YYYYMMDD) and was left out"


def _address(fields: Mapping[str, str | None]) -> Address | None:
    street = " ".join(part for part in (fields["street_number"], fields["address_1"]) if part)
    lines = tuple(line for line in (street, fields["address_2"]) if line)
    state = fields["state"]
    if not (lines or fields["suburb"] or fields["postcode"] or state):
        return None
    return Address(
        lines=lines,
        city=fields["suburb"],
        region=state.upper() if state else None,
        postcode=fields["postcode"],
        country=_COUNTRY,
    )
