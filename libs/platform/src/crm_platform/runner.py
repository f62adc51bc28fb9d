"""What runs as long as a service process does: consumers, the relay, the key pool."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Runner(Protocol):
    """Something that runs as long as the process does. `run` ends only by being cancelled: then it finishes its batch.

    It is `ready` once it has caught up, and counts as ready from then on; it is `alive` while it makes progress.
    """

    name: str

    @property
    def ready(self) -> bool: ...

    @property
    def alive(self) -> bool: ...

    async def run(self) -> None: ...
