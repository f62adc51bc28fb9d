"""A part of a process that ends by itself is noticed: nothing ends in silence."""

import asyncio

import pytest

from crm_platform.runner import RunnerEndedError, run_for_ever


class Ends:
    """A runner that ends in one way or another."""

    name = "ends"
    ready = True
    alive = True

    def __init__(self, how: str) -> None:
        self._how = how
        self.begun = asyncio.Event()

    async def run(self) -> None:
        self.begun.set()
        match self._how:
            case "returns":
                return
            case "raises":
                raise ValueError("broken")
            case "waits for what was cancelled":
                waited_for = asyncio.create_task(asyncio.sleep(60))
                waited_for.cancel()
                await waited_for
        await asyncio.Event().wait()


@pytest.mark.parametrize("how", ["returns", "waits for what was cancelled"])
async def test_a_runner_that_ends_though_nobody_told_it_to_has_failed(how: str) -> None:
    with pytest.raises(RunnerEndedError, match="ends"):
        await run_for_ever(Ends(how))


async def test_what_a_runner_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="broken"):
        await run_for_ever(Ends("raises"))


async def test_a_runner_that_is_told_to_end_ends() -> None:
    runner = Ends("not by itself")
    task = asyncio.create_task(run_for_ever(runner))
    await runner.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_group_of_tasks_tells_of_a_runner_that_was_cancelled_by_nobody() -> None:
    """A group takes a cancelled task for one that somebody wanted to end, and says nothing."""
    with pytest.raises(ExceptionGroup) as failed:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run_for_ever(Ends("waits for what was cancelled")))
    assert failed.group_contains(RunnerEndedError)
