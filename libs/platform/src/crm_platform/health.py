"""Whether the process is alive, and whether it can serve: what /livez, /readyz and /startupz answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from crm_platform.metrics import PART_ALIVE, PART_READY


class Part(Protocol):
    """A part of the process: it is `alive` while it makes progress, `ready` while it can do its work."""

    @property
    def name(self) -> str: ...

    @property
    def ready(self) -> bool: ...

    @property
    def alive(self) -> bool: ...


@dataclass
class Condition:
    """A part with nothing behind it but a fact: it is set to ready by whoever makes it so."""

    name: str
    ready: bool = False
    alive: bool = True


class Health:
    """The parts of the process, and whether it has been told to stop."""

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        self._parts = list(parts)
        self._waited_for = list(self._parts)
        self.stopping = False

    def add(self, part: Part) -> None:
        self._parts.append(part)
        self._waited_for.append(part)

    def dead(self) -> list[str]:
        """Names of the parts that make no progress; a dependency that is away kills nothing."""
        return [part.name for part in self._parts if not part.alive]

    def starting(self) -> list[str]:
        """Names of the parts that have never been ready.

        One that once was is waited for no more: a process that took itself out of service whenever Kafka or MongoDB is
        away would refuse what it can still do, and all its replicas with it.
        """
        self._waited_for = [part for part in self._waited_for if not part.ready]
        return [part.name for part in self._waited_for]

    def measure(self) -> None:
        """Tell the metrics of every part what the probes would tell."""
        starting = set(self.starting())
        for part in self._parts:
            PART_ALIVE.labels(part=part.name).set(part.alive)
            PART_READY.labels(part=part.name).set(part.name not in starting)

    def not_ready(self) -> list[str]:
        """Why the process cannot serve now: names of the parts that have never been ready, and `stopping`."""
        starting = self.starting()
        return ["stopping", *starting] if self.stopping else starting
