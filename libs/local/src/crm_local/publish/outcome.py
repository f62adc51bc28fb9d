"""What becomes of a line: a record, or a refusal."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from crm_events.adapter import AdapterRecord
from crm_local.publish.lines import Line
from crm_local.publish.refusal import LineRefusedError, contract_reasons


@dataclass(frozen=True, slots=True)
class Reading:
    """What a line says; `warning` names a part of it that had to be left out."""

    record: AdapterRecord
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A line that became a record."""

    line: Line
    record: AdapterRecord
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that did not."""

    line: Line
    reason: str


Outcome = Taken | Refused


def outcomes(lines: Iterable[Line], read: Callable[[Line], Reading]) -> Iterator[Outcome]:
    """The outcome of each line, in order. `read` refuses by LineRefusedError, or leaves it to the contract."""
    for line in lines:
        try:
            reading = read(line)
        except LineRefusedError as refusal:
            yield Refused(line, str(refusal))
        except ValidationError as refusal:
            yield Refused(line, contract_reasons(refusal))
        else:
            yield Taken(line, reading.record, reading.warning)
