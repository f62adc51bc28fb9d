"""How many streams are open: a few for each token subject, and not too many in all."""

from collections import Counter
from collections.abc import Callable

from crm_platform.errors import Refusal, Unavailable
from crm_platform.metrics import EVENT_STREAMS, REQUESTS_SHED

RETRY_AFTER_SECONDS = 10


class TooManyStreams(Refusal):
    status, code, title = 429, "too-many-streams", "Too many streams are open"
    retry_after = RETRY_AFTER_SECONDS


class OpenStreams:
    """Counts the streams of this process."""

    def __init__(self, most: int, most_per_subject: int) -> None:
        self._most = most
        self._most_per_subject = most_per_subject
        self._by_subject: Counter[str] = Counter()

    def admit(self, subject: str) -> Callable[[], None]:
        """Count one more; returns what counts it out again. Raises TooManyStreams and Unavailable."""
        if self._by_subject[subject] >= self._most_per_subject:
            REQUESTS_SHED.labels("streams").inc()
            raise TooManyStreams(
                f"A token's subject may have {self._most_per_subject} streams open here; close one, or read pages."
            )
        if self._by_subject.total() >= self._most:
            REQUESTS_SHED.labels("streams").inc()
            refusal = Unavailable("Too many streams are open here; try again later, or read pages.")
            refusal.retry_after = RETRY_AFTER_SECONDS
            raise refusal
        self._by_subject[subject] += 1
        EVENT_STREAMS.inc()
        return lambda: self._ended(subject)

    def _ended(self, subject: str) -> None:
        self._by_subject[subject] -= 1
        if not self._by_subject[subject]:
            del self._by_subject[subject]
        EVENT_STREAMS.dec()
