"""A generation that is filled beside the live one: brought close to it, and for a moment to the same offsets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pymongo
from aiokafka import TopicPartition

from crm_platform.crash_points import CrashPoint, passing
from crm_platform.cursor import CursorMovedError
from crm_platform.generations import FREEZE_SECONDS, Generations
from crm_platform.projection_store import ProjectionStore
from crm_platform.rebuild.filler import Offsets
from crm_platform.rebuild.lanes import Lanes
from crm_platform.rebuild.refusals import RebuildRefusedError
from crm_platform.rebuild.report import Report

CLOSE_ENOUGH = 1_000
"""So many events behind, the rest is read while writers are kept still."""
STILL_SECONDS = FREEZE_SECONDS - 1.5
ATTEMPTS = 20
INDEX_SECONDS = 3_600.0


class Beside:
    """Two generations of one read model, and what is read into the second."""

    def __init__(
        self, generations: Generations, live: ProjectionStore, built: ProjectionStore, filling: Lanes, report: Report
    ) -> None:
        self._generations = generations
        self._filling = filling
        self._report = report
        self.live = live
        self.built = built

    async def fill(self) -> None:
        """Fill until little is missing of what the live generation has, and build the indexes."""
        await self.catch_up()
        self._report.tell("indexing")
        with pymongo.timeout(INDEX_SECONDS):
            await self.built.prepare()
        await self.catch_up()

    async def catch_up(self) -> None:
        """Fill until little is missing of what the live generation has."""
        behind = CLOSE_ENOUGH + 1
        while behind > CLOSE_ENOUGH:
            goals = await self._goals()
            behind = _behind(self._filling.offsets, goals)
            total = sum(goals[place] - first for place, first in self._filling.beginnings.items())

            async def filled(offsets: Offsets, goals: Offsets = goals, total: int = total) -> None:
                self._report.progress("filling", total - _behind(offsets, goals), total)

            await self._filling.fill(goals, filled)

    async def _goals(self) -> Offsets:
        """How far the live generation has read."""
        cursors = await self.live.cursors.all()
        return {
            place: cursors[place].next_offset if place in cursors else first
            for place, first in self._filling.beginnings.items()
        }

    async def when_still(self, do: Callable[[Offsets], Awaitable[None]]) -> None:
        """Do it while both stand at the same offsets, and nobody writes to either. Raises RebuildRefusedError."""
        for _ in range(ATTEMPTS):
            try:
                async with self._still() as offsets:
                    await do(offsets)
                    return
            except (TimeoutError, CursorMovedError):
                # A batch that was broken off may be stored or not: its cursors tell.
                await self._filling.start()
                await self.catch_up()
        raise RebuildRefusedError(
            f"the writers could not be caught up with in {ATTEMPTS} attempts: too much is written. Call it again when"
            " there is less; it goes on from here"
        )

    @asynccontextmanager
    async def _still(self) -> AsyncIterator[Offsets]:
        await self._generations.freeze()
        try:
            await self.live.cursors.fence(self._filling.beginnings)
            passing(CrashPoint.REBUILD_STILL)
            goals = await self._goals()
            async with asyncio.timeout(STILL_SECONDS):
                await self._filling.fill(goals, _nobody_listens)
            await self._must_be_whole()
            yield goals
        finally:
            await self._generations.thaw()

    async def _must_be_whole(self) -> None:
        if self._filling.has_gaps:
            raise RebuildRefusedError(
                "events are missing in the log (alert CrmGapOpen): publish them again before it is rebuilt"
            )
        if await self._filling.has_new_discards():
            raise RebuildRefusedError("parked events were discarded meanwhile: --abandon this one and begin anew")


def _behind(offsets: Offsets, goals: Mapping[TopicPartition, int]) -> int:
    return sum(max(0, goals[place] - offset) for place, offset in offsets.items())


async def _nobody_listens(_: Offsets) -> None:
    """While writers are kept still, nothing is told."""
