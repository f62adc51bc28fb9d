"""Any record of the contract, one JSON object a line."""

import re
from collections.abc import Iterable, Iterator

from pydantic_core import from_json

from crm_events.adapter import AdapterRecord, InteractionRecorded, PersonDescribed
from crm_events.parties import Identifier
from crm_local.publish.lines import Line
from crm_local.publish.outcome import Outcome, Reading, outcomes
from crm_local.publish.refusal import LineRefusedError
from crm_platform.identifiers import NotAnIdentifier, normalise

SOURCE = "jsonl"
_COLUMN = re.compile(r"column (\d+)$")
_TYPES: dict[object, type[AdapterRecord]] = {each.__name__: each for each in (InteractionRecorded, PersonDescribed)}


def read_json_lines(lines: Iterable[Line]) -> Iterator[Outcome]:
    """Each line is one record; its member `type` names which kind, InteractionRecorded where it is absent."""
    return outcomes(lines, lambda line: Reading(_record(line)))


def _record(line: Line) -> AdapterRecord:
    members = _members(line)
    named = members.pop("type", InteractionRecorded.__name__)
    record_class = _TYPES.get(named) if isinstance(named, str) else None
    if record_class is None:
        raise LineRefusedError(f"type: must be one of {', '.join(map(str, _TYPES))}")
    record = record_class.model_validate(members)
    for identifier in _identifiers(record):
        try:
            normalise(identifier)
        except NotAnIdentifier as refusal:
            raise LineRefusedError(f"{identifier.kind}: {refusal}") from refusal
    return record


def _identifiers(record: AdapterRecord) -> Iterable[Identifier]:
    match record:
        case InteractionRecorded():
            return record.party.identifiers()
        case PersonDescribed():
            return record.identifiers
    return ()


def _members(line: Line) -> dict[str, object]:
    text = line.text()
    try:
        members = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise LineRefusedError(f"not JSON: {_where(str(error), text)}") from error
    if not isinstance(members, dict):
        raise LineRefusedError("not a JSON object")
    return members


def _where(words: str, text: str) -> str:
    """What the parser said, in plain words. It counts bytes."""
    if words.startswith("EOF"):
        return "it ends in the middle"
    if words.startswith("recursion limit"):
        return "nested too deeply"
    column = _COLUMN.search(words)
    before = text.encode()[: int(column[1]) - 1] if column else b""
    return f"cannot be read from character {len(before.decode(errors='ignore')) + 1} on"
