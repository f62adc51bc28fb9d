"""Whether a consumer that has something to read is reading: a live process is not yet a live stream."""

from collections.abc import Mapping

STALLED_SECONDS = 60.0

Partition = tuple[str, int]


class Progress:
    """What has been read of each partition, and since when something waits there unread; times in monotonic seconds."""

    def __init__(self) -> None:
        self._next: dict[Partition, int] = {}
        self._waiting_since: dict[Partition, float] = {}

    def took(self, partition: Partition, offset: int, now: float) -> None:
        """The record at that offset has been read."""
        self._next[partition] = offset + 1
        if partition in self._waiting_since:
            self._waiting_since[partition] = now

    def observe(self, ends: Mapping[Partition, int], now: float) -> None:
        """Where the assigned partitions end now; partitions not named are another worker's."""
        for gone in self._next.keys() - ends.keys():
            del self._next[gone]
        for partition, end in ends.items():
            self._next.setdefault(partition, end)
        unread = {partition for partition, end in ends.items() if end > self._next[partition]}
        self._waiting_since = {partition: self._waiting_since.get(partition, now) for partition in unread}

    def is_stalled(self, now: float) -> bool:
        """Whether something has waited unread for a minute."""
        return any(now - since > STALLED_SECONDS for since in self._waiting_since.values())
