"""Waiting for what is away: waits that grow, jittered so that many who wait do not come back at once."""

import asyncio
import random
from collections.abc import Callable

FIRST_SECONDS = 0.2
MOST_SECONDS = 5.0


class Backoff:
    """Each failure in a row doubles the wait, from `first` to `most` seconds; a wait is half to all of that."""

    def __init__(
        self,
        most: float = MOST_SECONDS,
        *,
        first: float = FIRST_SECONDS,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._first = first
        self._most = most
        self._random_unit = random_unit
        self._failures = 0

    def succeeded(self) -> None:
        self._failures = 0

    def next_seconds(self) -> float:
        """How long to wait after one more failure."""
        # The exponent is bounded: an outage of days must not overflow a float.
        longest = min(self._most, self._first * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return longest * (0.5 + self._random_unit() / 2)

    async def wait(self) -> None:
        await asyncio.sleep(self.next_seconds())
