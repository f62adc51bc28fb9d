"""How long to wait before a part that died is started again."""

import random
from dataclasses import dataclass


@dataclass
class Backoff:
    """Waits that double, with jitter, and start anew once a part has run for a while. All in seconds."""

    first: float = 0.5
    longest: float = 30.0
    well_after: float = 10.0
    _failures: int = 0

    def next_wait(self, ran_for: float) -> float:
        """The wait after a run of `ran_for`: between half of the current bound and the bound."""
        if ran_for >= self.well_after:
            self._failures = 0
        bound = min(self.longest, self.first * 2.0**self._failures)
        self._failures += 1
        return random.uniform(bound / 2, bound)  # noqa: S311 - spreads restarts, guards nothing
