"""How far a consumer is behind, and whether it stands still although it could go on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka import TopicPartition

STUCK_SECONDS = 10.0
"""A consumer that makes no progress for this long, while there is lag and all it needs answers, is stuck."""


@dataclass(slots=True)
class Lag:
    """Lag in events, by partition, and in seconds: how long the oldest unread event can have waited at most.

    An unread event is newer than the newest one applied, and than the moment at which its partition was last seen read
    to its end. Instants are seconds since the epoch.
    """

    events: dict[TopicPartition, int] = field(default_factory=dict)
    _at_end: dict[TopicPartition, float] = field(default_factory=dict)
    _applied: dict[TopicPartition, float] = field(default_factory=dict)

    def assigned(self, places: set[TopicPartition]) -> None:
        """These are the partitions from now on."""
        self.events = dict.fromkeys(places, 0)
        self._at_end.clear()
        self._applied.clear()

    def applied(self, place: TopicPartition, published_at: float) -> None:
        self._applied[place] = published_at

    def seen(self, lags: Mapping[TopicPartition, int], now: float) -> None:
        """This many events of each partition are unread."""
        self.events = dict(lags)
        self._at_end.update(dict.fromkeys((place for place, lag in lags.items() if not lag), now))

    @property
    def total(self) -> int:
        return sum(self.events.values())

    def seconds(self, now: float) -> float:
        """0 where nothing is unread, or nothing is known yet."""
        waiting = (place for place, lag in self.events.items() if lag)
        return max((self._waited(place, now) for place in waiting), default=0.0)

    def _waited(self, place: TopicPartition, now: float) -> float:
        since = max(self._at_end.get(place, 0.0), self._applied.get(place, 0.0))
        return max(0.0, now - since) if since else 0.0


class Watchdog:
    """Tells a consumer that is stuck from one that has nothing to do, or waits for what is away.

    Instants are seconds of a clock that only goes on.
    """

    def __init__(self, now: float, patience: float = STUCK_SECONDS) -> None:
        self._patience = patience
        self._since = now

    def progressed(self, now: float) -> None:
        self._since = now

    def is_stuck(self, now: float, *, lag: int, answering: bool) -> bool:
        """`answering` says whether all that the consumer needs answers: while something is away, the time stands."""
        if not lag or not answering:
            self._since = now
        return now - self._since > self._patience
