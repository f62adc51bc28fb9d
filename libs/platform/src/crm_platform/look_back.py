"""Looking for an event that is missing in a partition (docs/adr/0004).

A partition that lost its end and was filled again holds, before the offset at which a consumer goes on, what the
consumer has never seen. So where a gap opens, the records before it are read again, ever further back; repeats have no
effect. What is not found so is told by the open gap, until a relay publishes it again.
"""

from dataclasses import dataclass

from crm_platform.cursor import Cursor

FIRST_RECORDS = 100
MOST_RECORDS = 100_000
FURTHER = 10


@dataclass(slots=True)
class LookBack:
    """The search for what is missing in one partition."""

    _gap: int | None = None
    _found_at: int = 0
    _reach: int = 0

    def start(self, cursor: Cursor, beginning: int) -> int | None:
        """The offset from which to read again, None to read on. `beginning` is the partition's first offset."""
        if cursor.gap is None:
            self._gap = None
            return None
        if cursor.gap != self._gap:
            self._gap, self._found_at, self._reach = cursor.gap, cursor.next_offset, 0
        elif cursor.next_offset < self._found_at:
            return None
        if self._reach >= MOST_RECORDS or self._found_at - self._reach <= beginning:
            return None
        self._reach = max(FIRST_RECORDS, self._reach * FURTHER)
        return max(beginning, self._found_at - self._reach)
