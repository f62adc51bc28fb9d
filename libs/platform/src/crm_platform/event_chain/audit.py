"""Reads the checkpoints, tells of those that are not genuine, and passes on the others."""

from collections.abc import Iterable, Iterator

from crm_platform.event_chain.checkpoint import FIRST_PREVIOUS, LOWEST, Checkpoint, Seal
from crm_platform.event_chain.entries import Entry, read_entries
from crm_platform.event_chain.findings import Finding, Report
from crm_platform.event_chain.rows import Rows


class Audit:
    """`trusted` are the public keys whose checkpoints count; `kept` are those that must still be there."""

    def __init__(self, rows: Rows, trusted: frozenset[bytes], kept: Iterable[Seal], report: Report) -> None:
        self._rows = rows
        self._trusted = trusted
        self._newest_trusted = rows.newest_signed_by(trusted)
        self._missed = {seal for seal in kept if seal.log == report.log}
        self._report = report
        self._before: Checkpoint | None = None
        self._before_is_genuine = True

    def genuine(self) -> Iterator[tuple[Checkpoint, Iterator[Entry]]]:
        """The genuine checkpoints with their entries, in order; findings about the others are told meanwhile."""
        waiting: tuple[Checkpoint, bytes] | None = None
        for following in self._rows.checkpoints():
            if waiting and self._counts(waiting[0], following[0]):
                yield waiting[0], read_entries(waiting[1])
            waiting = following
        if waiting and self._counts(waiting[0], None):
            yield waiting[0], read_entries(waiting[1])
        for seal in sorted(self._missed):
            self._report.findings.append(Finding(LOWEST, f"checkpoint {seal}, which was kept, is taken away"))

    def _counts(self, checkpoint: Checkpoint, following: Checkpoint | None) -> bool:
        """Whether it is genuine. What is told of it is told here."""
        fault = self._fault(checkpoint, following)
        misplaced = None if fault else self._misplaced(checkpoint)
        if fault or misplaced:
            what = f"checkpoint {checkpoint.number}, up to position {checkpoint.position:,}, {fault or misplaced}"
            self._report.findings.append(Finding(checkpoint.after, what))
        self._before, self._before_is_genuine = checkpoint, not fault
        if not fault:
            self._report.checkpoints += 1
            self._report.head = checkpoint
            self._missed.discard(Seal.of(checkpoint))
        return not fault

    def _fault(self, checkpoint: Checkpoint, following: Checkpoint | None) -> str | None:
        if not checkpoint.is_genuine():
            return "is altered: its signature is not one over what it says"
        if checkpoint.public_key in self._trusted:
            return None
        # One of a former key is vouched for by those behind it, up to one of a key that is trusted.
        followed = following is not None and following.previous == checkpoint.digest()
        if followed and checkpoint.number < self._newest_trusted:
            return None
        return "is forged: the key that signed it is none of this installation's"

    def _misplaced(self, checkpoint: Checkpoint) -> str | None:
        before = self._before
        expected = before.number + 1 if before else 1
        if checkpoint.number != expected:
            return f"stands behind a gap: number {expected} is taken away"
        if self._before_is_genuine and checkpoint.previous != (before.digest() if before else FIRST_PREVIOUS):
            return "was signed behind another checkpoint than the one that stands before it"
        return None
