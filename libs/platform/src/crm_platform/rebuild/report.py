"""What a rebuild tells while it goes on: lines of JSON, for whoever shows them and for the log of a job."""

import sys
from collections.abc import Mapping
from time import monotonic
from typing import Any, Protocol

import orjson

TELL_SECONDS = 0.5


class Report(Protocol):
    """Hears how far a rebuild is."""

    def progress(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` events or documents, as known now."""
        ...

    def tell(self, what: str, **members: Any) -> None:
        """Something that is worth a line."""
        ...


class JsonLines:
    """Writes each as a line of JSON; progress at most twice a second."""

    def __init__(self) -> None:
        self._told_at: Mapping[str, float] = {}

    def progress(self, phase: str, done: int, total: int) -> None:
        now = monotonic()
        if done >= total or now - self._told_at.get(phase, 0.0) > TELL_SECONDS:
            self._told_at = {phase: now}
            self.tell("progress", phase=phase, done=done, total=total)

    def tell(self, what: str, **members: Any) -> None:
        sys.stdout.write(orjson.dumps({"what": what, **members}).decode() + "\n")
        sys.stdout.flush()
