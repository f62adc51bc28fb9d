"""One run over a file: what was taken, what was refused, how far it came."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from crm_local.publish.lines import Line
from crm_local.publish.message import Message
from crm_local.publish.outcome import Outcome, Refused, Taken
from crm_local.publish.refusal import LineRefusedError
from crm_local.publish.sender import Sender

SHOWN = 20
"""How many refusals, and how many warnings, are kept to be shown."""
_BATCH_LINES = 1_000
_BATCH_BYTES = 4 * 1024 * 1024

Prepared = tuple[Taken, Message] | Refused


@dataclass
class Tally:
    """What has become of the lines so far. What was taken is stored: a line counts when Kafka has confirmed it."""

    taken: int = 0
    refused: int = 0
    warned: int = 0
    last_line: int = 0
    first_refusals: list[Refused] = field(default_factory=list)
    first_warnings: list[Taken] = field(default_factory=list)

    def count(self, outcome: Outcome) -> None:
        self.last_line = outcome.line.number
        if isinstance(outcome, Refused):
            self.refused += 1
            if self.refused <= SHOWN:
                self.first_refusals.append(outcome)
            return
        self.taken += 1
        if outcome.warning:
            self.warned += 1
            if self.warned <= SHOWN:
                self.first_warnings.append(outcome)


async def publish(
    outcomes: Iterable[Outcome],
    to_message: Callable[[Taken], Message],
    sender: Sender,
    done: Callable[[Outcome], None],
) -> None:
    """Publishes what can be, in order; `done` is called for each line once its fate is certain.

    Raises LocalStackError if Kafka does not take a record.
    """
    for batch in _batches(_prepare(outcomes, to_message)):
        await sender.send([each[1] for each in batch if not isinstance(each, Refused)])
        for each in batch:
            done(each if isinstance(each, Refused) else each[0])


def _prepare(outcomes: Iterable[Outcome], to_message: Callable[[Taken], Message]) -> Iterator[Prepared]:
    for outcome in outcomes:
        if isinstance(outcome, Refused):
            yield outcome
            continue
        try:
            yield outcome, to_message(outcome)
        except LineRefusedError as refusal:
            yield Refused(outcome.line, str(refusal))


def _batches(prepared: Iterable[Prepared]) -> Iterator[list[Prepared]]:
    batch: list[Prepared] = []
    size = 0
    for each in prepared:
        batch.append(each)
        size += len(_line(each).content)
        if len(batch) == _BATCH_LINES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _line(prepared: Prepared) -> Line:
    return prepared.line if isinstance(prepared, Refused) else prepared[0].line
