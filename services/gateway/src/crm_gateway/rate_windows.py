"""Where requests are counted: in this process's memory."""

import time
from dataclasses import dataclass

from limits.storage import Storage


@dataclass(slots=True)
class _Window:
    taken: int
    until: float


class RateWindows(Storage):
    """Counts of the windows that are running, by subject.

    The library's own storage starts a thread every few milliseconds to drop the windows that are over, which costs more
    than the counting; here they are dropped when another one begins.
    """

    STORAGE_SCHEME = None
    base_exceptions = ()

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[str, _Window] = {}
        self._look_at = 0.0

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        window = self._running(key)
        if window is None:
            window = self._begin(key, expiry)
        window.taken += amount
        return window.taken

    def get(self, key: str) -> int:
        window = self._running(key)
        return 0 if window is None else window.taken

    def get_expiry(self, key: str) -> float:
        """When the window ends, as time.time() counts."""
        window = self._running(key)
        return time.time() if window is None else window.until

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _running(self, key: str) -> _Window | None:
        window = self._windows.get(key)
        return window if window is not None and time.time() < window.until else None

    def _begin(self, key: str, seconds: int) -> _Window:
        now = time.time()
        if now >= self._look_at:
            self._windows = {name: window for name, window in self._windows.items() if now < window.until}
            self._look_at = now + seconds
        window = self._windows[key] = _Window(0, now + seconds)
        return window
