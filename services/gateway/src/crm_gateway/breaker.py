"""A circuit breaker: a service that gives no answer is left alone for a while, then asked whether it is back.

While it is left alone its requests are refused at once, so that nobody waits for nothing, nothing piles up here, and
the service is not met by a storm when it comes back.
"""

from collections.abc import Awaitable, Callable
from time import monotonic

from crm_platform.backoff import Backoff

FAILURES = 5
"""So many requests in a row without an answer open the breaker."""
LONGEST_SECONDS = 3.0

Probe = Callable[[], Awaitable[bool]]


class BreakerOpenError(Exception):
    """The service is left alone now; `seconds` says for how much longer."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"left alone for another {seconds:.1f} s")
        self.seconds = seconds


class Breaker:
    """One service's. Closed, it lets all pass; open, nobody, until its probe says that the service answers.

    The probe is asked by the first request after the wait, and by one at a time. It is a request of its own: no
    client's command is put at risk to find out.
    """

    def __init__(self, probe: Probe, clock: Callable[[], float] = monotonic) -> None:
        self._probe = probe
        self._clock = clock
        self._failures = 0
        self._asks_again_at: float | None = None
        self._probing = False
        self._backoff = Backoff(LONGEST_SECONDS, first=0.5)

    @property
    def is_open(self) -> bool:
        return self._asks_again_at is not None

    async def admit(self) -> None:
        """Return if a request may be sent. Raises BreakerOpenError."""
        if self._asks_again_at is None:
            return
        left = self._asks_again_at - self._clock()
        if left > 0 or self._probing:
            raise BreakerOpenError(max(0.0, left))
        self._probing = True
        try:
            is_back = await self._probe()
        finally:
            self._probing = False
        if not is_back:
            raise BreakerOpenError(self._open())
        self.answered()

    def answered(self) -> None:
        """The service has answered, whatever it said."""
        self._failures = 0
        self._asks_again_at = None
        self._backoff.succeeded()

    def failed(self) -> None:
        """The service gave no answer."""
        self._failures += 1
        if self._failures >= FAILURES and not self.is_open:
            self._open()

    def _open(self) -> float:
        seconds = self._backoff.next_seconds()
        self._asks_again_at = self._clock() + seconds
        return seconds
