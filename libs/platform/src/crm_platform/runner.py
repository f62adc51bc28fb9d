"""What runs as long as a service process does: consumers, the relay, the key pool."""

import asyncio
from typing import Protocol, runtime_checkable

from crm_platform.finishing import is_told_to_end
from crm_platform.logging import get_logger

log = get_logger(__name__)


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


class RunnerEndedError(RuntimeError):
    """A runner has ended, though nobody told it to."""


async def run_for_ever(runner: Runner) -> None:
    """Run it until the task is told to end. Raises what it raises, and RunnerEndedError where it ends by itself."""
    try:
        await runner.run()
    except asyncio.CancelledError as ended:
        if is_told_to_end():
            raise
        log.error("runner_failed", runner=runner.name, exc_info=ended)
        raise RunnerEndedError(f"{runner.name} was cancelled, though nobody told it to end") from ended
    except Exception as failure:
        log.error("runner_failed", runner=runner.name, exc_info=failure)
        raise
    if not is_told_to_end():
        log.error("runner_failed", runner=runner.name)
        raise RunnerEndedError(f"{runner.name} has ended by itself")
