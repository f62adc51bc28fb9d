"""What a verification finds, and what it says at the end."""

from dataclasses import dataclass, field
from datetime import UTC
from uuid import UUID

from crm_events.envelope import event_id
from crm_platform.event_chain.checkpoint import Checkpoint, Seal

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Named:
    """An event by its place: `position` where that is known, `type_name` where its row is still there."""

    stream: UUID
    sequence: int
    position: int | None = None
    type_name: str | None = None

    @property
    def id(self) -> UUID:
        return event_id(self.stream, self.sequence)

    def __str__(self) -> str:
        at = "" if self.position is None else f" at position {self.position}"
        type_name = f" ({self.type_name})" if self.type_name else ""
        return f"event {self.id}{type_name}{at}, sequence {self.sequence} of stream {self.stream}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written: of an event, or else of a checkpoint. `position` orders findings."""

    position: int
    what: str
    event: Named | None = None

    def __str__(self) -> str:
        return f"{self.event}: {self.what}" if self.event else self.what


@dataclass(slots=True)
class Report:
    """The outcome for one log; `head` is the newest checkpoint that is genuine."""

    log: str
    events: int = 0
    checkpoints: int = 0
    unsigned: int = 0
    unlinked: int = 0
    head: Checkpoint | None = None
    complete: bool = True
    findings: list[Finding] = field(default_factory=list)

    @property
    def first_altered(self) -> Named | None:
        return next((finding.event for finding in self.findings if finding.event), None)

    @property
    def is_unaltered(self) -> bool:
        return not self.findings

    def lines(self) -> list[str]:
        """What is to be told to a person, the verdict first."""
        return [*self._verdict(), *self._scope()]

    def _verdict(self) -> list[str]:
        if self.is_unaltered:
            return [f"{self.log}: {self.events:,} events and {self.checkpoints:,} checkpoints verified, none altered"]
        first = self.first_altered
        headline = f"the first altered is {first}" if first else "no event is known to be, its checkpoints are"
        shown = [f"  {finding}" for finding in self.findings[:SHOWN]]
        more = len(self.findings) - len(shown)
        rest = [f"  and {more:,} more{'' if self.complete else ', then it was given up'}"] if more else []
        return [f"{self.log}: ALTERED: {headline}", *shown, *rest]

    def _scope(self) -> list[str]:
        lines = []
        if self.head:
            signed_at = self.head.signed_at.astimezone(UTC).isoformat(" ", "seconds")
            lines.append(f"  signed up to position {self.head.position:,} at {signed_at}")
            lines.append(f"  newest checkpoint, to be kept elsewhere: {Seal.of(self.head)}")
        if self.unsigned:
            lines.append(
                f"  {self.unsigned:,} events are under no signature yet: only those behind them vouch for them"
            )
        if self.unlinked:
            lines.append(f"  {self.unlinked:,} events carry no link, as older releases wrote them")
        return lines
