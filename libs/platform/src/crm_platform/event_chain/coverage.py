"""What genuine checkpoints say stood at each position."""

from bisect import bisect_left
from collections.abc import Iterator

from crm_platform.event_chain.audit import Audit
from crm_platform.event_chain.entries import Entry


class Spans:
    """Positions as spans (after, upto], added in order; adjoining ones are one."""

    def __init__(self) -> None:
        self._after: list[int] = []
        self._upto: list[int] = []

    def add(self, after: int, upto: int) -> None:
        if self._upto and self._upto[-1] == after:
            self._upto[-1] = upto
        else:
            self._after.append(after)
            self._upto.append(upto)

    def __contains__(self, position: int) -> bool:
        index = bisect_left(self._upto, position)
        return index < len(self._upto) and self._after[index] < position


class Coverage:
    """The signed entries in order, beside events that are asked about in order."""

    def __init__(self, audit: Audit) -> None:
        self._spans = Spans()
        self._entries = self._of(audit)
        self._next = next(self._entries, None)

    def covers(self, position: int) -> bool:
        """Whether signed entries say what stands there; known up to the position that was last asked about."""
        return position in self._spans

    def passed_over(self, position: int | None) -> Iterator[Entry]:
        """The entries before this position that no event was asked about; at the end, with None, all that are left."""
        while self._next is not None and (position is None or self._next.position < position):
            yield self._next
            self._next = next(self._entries, None)

    def at(self, position: int) -> Entry | None:
        """The entry of that position, which is done with."""
        if self._next is None or self._next.position != position:
            return None
        entry, self._next = self._next, next(self._entries, None)
        return entry

    def _of(self, audit: Audit) -> Iterator[Entry]:
        for checkpoint, entries in audit.genuine():
            self._spans.add(checkpoint.after, checkpoint.position)
            yield from entries
