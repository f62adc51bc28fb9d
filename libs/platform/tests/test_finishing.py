"""A task that is told to end finishes the batch it is at, unless that takes too long."""

import asyncio

import pytest

from crm_platform.finishing import to_its_end


async def heard() -> None:
    """Until a task has heard what it was told, and all that follows from it at once has happened."""
    for _ in range(20):
        await asyncio.sleep(0)


class Work:
    """Batches that are done when they are let go on."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.done = 0
        self.broken_off = 0

    async def batch(self) -> None:
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        self.done += 1

    async def for_ever(self, within: float = 5.0) -> None:
        while True:
            await to_its_end(self.batch(), within)


async def test_a_batch_that_has_begun_is_finished_and_no_other_begins() -> None:
    work = Work()
    task = asyncio.create_task(work.for_ever())
    await work.begun.wait()

    task.cancel()
    await heard()
    assert not task.done()
    work.go_on.set()
    await asyncio.wait({task}, timeout=5)

    assert (task.cancelled(), work.done, work.broken_off) == (True, 1, 0)


async def test_a_batch_that_does_not_end_is_broken_off() -> None:
    work = Work()
    task = asyncio.create_task(work.for_ever(within=0.05))
    await work.begun.wait()

    task.cancel()
    await asyncio.wait({task}, timeout=5)

    assert (task.cancelled(), work.done, work.broken_off) == (True, 0, 1)


async def test_who_is_told_twice_waits_no_longer() -> None:
    work = Work()
    task = asyncio.create_task(work.for_ever(within=60))
    await work.begun.wait()

    task.cancel()
    await heard()
    assert not task.done()
    task.cancel()
    await asyncio.wait({task}, timeout=5)

    assert (task.cancelled(), work.done, work.broken_off) == (True, 0, 1)


async def test_a_batch_that_fails_meanwhile_is_no_reason_to_go_on() -> None:
    work = Work()

    async def failing() -> None:
        await work.batch()
        raise OSError("the broker went away")

    task = asyncio.create_task(to_its_end(failing()))
    await work.begun.wait()
    task.cancel()
    await heard()
    work.go_on.set()
    await asyncio.wait({task}, timeout=5)

    assert (task.cancelled(), work.done, work.broken_off) == (True, 1, 0)


async def test_without_being_told_it_gives_the_batchs_result_or_failure() -> None:
    async def three() -> int:
        return 3

    async def failing() -> None:
        raise OSError("the broker went away")

    assert await to_its_end(three()) == 3
    with pytest.raises(OSError, match="went away"):
        await to_its_end(failing())
