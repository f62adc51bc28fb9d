"""Whether the process is alive, and whether it can serve: what /livez and /readyz answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


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
        self.stopping = False

    def add(self, part: Part) -> None:
        self._parts.append(part)

    def dead(self) -> list[str]:
        """Names of the parts that make no progress; a dependency that is away kills nothing."""
        return [part.name for part in self._parts if not part.alive]

    def not_ready(self) -> list[str]:
        """Why the process cannot serve now: names of the parts that are not ready, and `stopping`."""
        waiting = [part.name for part in self._parts if not part.ready]
        return ["stopping", *waiting] if self.stopping else waiting
