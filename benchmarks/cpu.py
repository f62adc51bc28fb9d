"""CPU time of the processes that share a piece of work, as the operating system counts it."""

from collections.abc import Iterable
from contextlib import suppress

import psutil


class CpuClock:
    """Counts the CPU seconds of these processes and their children from its making on, user and system together.

    Processes that are born and end in between are not seen; servers and their connections live longer than a run.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._roots = [psutil.Process(pid) for pid in pids]
        self._began = self._total()

    def seconds(self) -> float:
        return sum(now - self._began.get(process, 0.0) for process, now in self._total().items())

    def _total(self) -> dict[psutil.Process, float]:
        used: dict[psutil.Process, float] = {}
        for root in self._roots:
            with suppress(psutil.NoSuchProcess):
                for process in (root, *root.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        times = process.cpu_times()
                        used[process] = times.user + times.system
        return used
