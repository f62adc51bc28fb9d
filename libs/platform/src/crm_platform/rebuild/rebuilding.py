"""Rebuilding and verifying a read model while it is written to and read (docs/adr/0016).

A new generation is filled from the log, behind the live one and never ahead of it. Twice the writers are kept still for
a moment, in which both generations are brought to the same offsets: once to fix the moment at which they are compared,
once to switch. Readers never wait, and see the same on both sides of the switch.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice

from aiokafka import TopicPartition

from crm_events.registry import Registry
from crm_platform import mongo
from crm_platform.authenticity import Authenticator
from crm_platform.crash_points import CrashPoint, passing
from crm_platform.cursor import CursorMovedError
from crm_platform.generations import FREEZE_SECONDS, LEASE_SECONDS, Generation, Generations
from crm_platform.inbound import RecordReader
from crm_platform.mongo_transactions import Transactions
from crm_platform.projection import Projection
from crm_platform.projection_store import ProjectionStore
from crm_platform.rebuild.comparison import Comparison, Difference
from crm_platform.rebuild.filler import Filler, Offsets, filler
from crm_platform.rebuild.report import Report

CLOSE_ENOUGH = 1_000
"""So many events behind, the rest is read while writers are kept still."""
STILL_SECONDS = FREEZE_SECONDS - 1.5
ATTEMPTS = 20
NAMED_DIFFERENCES = 1_000


class RebuildRefusedError(Exception):
    """It cannot be done as things stand. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Site:
    """The read model, and where its documents and its log are."""

    projection: Projection
    database: mongo.Database
    registry: Registry
    authenticator: Authenticator
    bootstrap: str


class Rebuilding:
    """Rebuilds one read model. Each method can be interrupted at any point and be called again."""

    def __init__(self, site: Site, report: Report) -> None:
        self._site = site
        self._report = report
        self._name = site.projection.identity
        self._generations = Generations(site.projection, site.database)
        self._transactions = Transactions(site.database, f"{self._name}@rebuild")

    async def rebuild(self, *, accept_differences: bool = False) -> None:
        """Fill a generation anew, compare it with the live one, and switch. Raises RebuildRefusedError."""
        standings = await self._generations.standings()
        if standings.previous is not None:
            raise RebuildRefusedError(
                "the generation before the live one is still kept: drop it first (--drop), or go back (--rollback)"
            )
        building = await self._generations.begin()
        async with self._filling(building) as (store, filling):
            await self._catch_up(filling)
            differences = await self._compared(filling, building)
            if differences and not accept_differences:
                raise RebuildRefusedError(
                    f"the generation that was filled differs from the live one in {differences} documents, which are"
                    " named above; switch all the same with --accept-differences, or give it up with --abandon"
                )
            await self._switch(filling, store)

    async def rollback(self) -> None:
        """Bring the generation before the live one up to date, and switch back to it. Raises RebuildRefusedError."""
        standings = await self._generations.standings()
        if standings.previous is not None and standings.building is None:
            await self._generations.begin_again_with(self._generations.of(standings.previous))
        elif standings.building is None or standings.building > standings.live:
            raise RebuildRefusedError("there is no generation to go back to")
        building = await self._generations.begin()
        async with self._filling(building) as (store, filling):
            await self._catch_up(filling)
            await self._switch(filling, store)

    async def verify(self) -> int:
        """Fold the log independently and compare; returns how many documents of the live generation differ."""
        standings = await self._generations.standings()
        if standings.building is not None and standings.building < standings.live:
            raise RebuildRefusedError("it is being rolled back: let that come to its end first")
        building = await self._generations.begin()
        async with self._filling(building) as (_, filling):
            await self._catch_up(filling)
            differences = await self._compared(filling, building)
        await self.abandon()
        return differences

    async def drop(self) -> None:
        """Drop the generation before the live one. Raises RebuildRefusedError."""
        previous = (await self._generations.standings()).previous
        if previous is None:
            raise RebuildRefusedError("there is no generation before the live one")
        await self._drop(self._generations.of(previous))
        await self._generations.forget_previous()
        self._report.tell("dropped", generation=previous)

    async def abandon(self) -> None:
        """Drop what is half filled. Raises RebuildRefusedError."""
        building = (await self._generations.standings()).building
        if building is None:
            raise RebuildRefusedError("nothing is being filled")
        await self._drop(self._generations.of(building))
        await self._generations.forget_building()
        self._report.tell("abandoned", generation=building)

    async def _drop(self, generation: Generation) -> None:
        store = self._store_of(generation)
        for name in generation.collections():
            await self._site.database.drop_collection(name)
        await store.parking.drop()
        await store.cursors.drop()

    def _store_of(self, generation: Generation) -> ProjectionStore:
        return ProjectionStore(generation, self._site.database, self._transactions.run)

    async def _live(self) -> ProjectionStore:
        return self._store_of(self._generations.of((await self._generations.standings()).live))

    # -- filling

    @asynccontextmanager
    async def _filling(self, generation: Generation) -> AsyncIterator[tuple[ProjectionStore, Filler]]:
        site, store = self._site, self._store_of(generation)
        await self._transactions.open()
        await store.prepare()
        reader = RecordReader(site.registry, site.projection.folds, site.authenticator)
        try:
            async with filler(store, reader, site.bootstrap) as filling:
                self._report.tell("filling", read_model=self._name, generation=generation.number)
                yield store, filling
        except CursorMovedError as other:
            raise RebuildRefusedError(
                f"another rebuild of {self._name} is under way; let it come to its end"
            ) from other

    async def _catch_up(self, filling: Filler) -> None:
        """Fill until little is missing of what the live generation has."""
        while True:
            goals = await self._goals(filling)
            behind = _behind(filling.offsets, goals)
            total = sum(goals[place] - first for place, first in filling.beginnings.items())

            async def filled(offsets: Offsets, goals: Offsets = goals, total: int = total) -> None:
                self._report.progress("filling", total - _behind(offsets, goals), total)

            await filling.fill(goals, filled)
            if behind <= CLOSE_ENOUGH:
                return

    async def _goals(self, filling: Filler) -> Offsets:
        """How far the live generation has read."""
        cursors = await (await self._live()).cursors.all()
        return {
            place: cursors[place].next_offset if place in cursors else first
            for place, first in filling.beginnings.items()
        }

    @asynccontextmanager
    async def _still(self, filling: Filler) -> AsyncIterator[Offsets]:
        """Both generations stand at the same offsets, and nobody writes. Raises RebuildRefusedError."""
        await self._generations.freeze()
        try:
            await (await self._live()).cursors.fence(filling.beginnings)
            passing(CrashPoint.REBUILD_STILL)
            goals = await self._goals(filling)
            async with asyncio.timeout(STILL_SECONDS):
                await filling.fill(goals, _nobody_listens)
            if filling.has_gaps:
                raise RebuildRefusedError(
                    "events are missing in the log (crm_consumer_gap): publish them again before it is rebuilt"
                )
            if await filling.has_new_discards():
                raise RebuildRefusedError("parked events were discarded meanwhile: --abandon this one and begin anew")
            yield goals
        finally:
            await self._generations.thaw()

    # -- comparing

    async def _compared(self, filling: Filler, building: Generation) -> int:
        """How many documents differ; each is reported."""
        with self._site.database.client.delegate.start_session(snapshot=True) as session:
            live = (await self._live()).generation
            comparison = Comparison(self._site.database, session, live, building)
            await self._pinned(filling, comparison)
            self._report.tell("comparing", read_model=self._name, live=live.number, filled=building.number)
            return await asyncio.to_thread(self._told, comparison)

    async def _pinned(self, filling: Filler, comparison: Comparison) -> None:
        for _ in range(ATTEMPTS):
            try:
                async with self._still(filling):
                    await asyncio.to_thread(comparison.pin)
                    return
            except TimeoutError:
                await self._catch_up(filling)
        raise _too_busy()

    def _told(self, comparison: Comparison) -> int:
        found = comparison.differences()
        differences = 0
        for difference in islice(found, NAMED_DIFFERENCES):
            self._tell_difference(difference)
            differences += 1
        differences += sum(1 for _ in found)
        digests: Mapping[str, str] = {name: digest.hex for name, digest in comparison.digests.items()}
        documents = sum(digest.documents for digest in comparison.digests.values())
        self._report.tell("compared", documents=documents, differences=differences, digests=digests)
        return differences

    def _tell_difference(self, difference: Difference) -> None:
        self._report.tell(
            "difference", collection=difference.collection, id=difference.id, fields=list(difference.fields)
        )

    # -- switching

    async def _switch(self, filling: Filler, built: ProjectionStore) -> None:
        for _ in range(ATTEMPTS):
            try:
                async with self._still(filling) as goals:
                    await self._switch_at(goals, built)
                    return
            except (TimeoutError, CursorMovedError):
                await self._catch_up(filling)
        raise _too_busy()

    async def _switch_at(self, goals: Offsets, built: ProjectionStore) -> None:
        live = await self._live()

        def work(session: mongo.Session) -> None:
            stands = live.cursors.fence_in(goals, session)
            if {place: cursor.next_offset for place, cursor in stands.items()} != dict(goals):
                raise CursorMovedError(live.generation.identity)
            self._generations.switch(live.generation, built.generation, session)

        await self._transactions.run(work)
        passing(CrashPoint.REBUILD_SWITCHED)
        # Readers may go by the row as it was for so long yet: until then nobody writes, and they see the same.
        await self._generations.freeze()
        await asyncio.sleep(LEASE_SECONDS * 1.5)
        self._report.tell("switched", read_model=self._name, live=built.generation.number)


def _behind(offsets: Offsets, goals: Mapping[TopicPartition, int]) -> int:
    return sum(max(0, goals[place] - offset) for place, offset in offsets.items())


async def _nobody_listens(_: Offsets) -> None:
    """While writers are kept still, nothing is told."""


def _too_busy() -> RebuildRefusedError:
    return RebuildRefusedError(
        f"the writers could not be caught up with in {ATTEMPTS} attempts: too much is written. Call it again when there"
        " is less; it goes on from here"
    )
