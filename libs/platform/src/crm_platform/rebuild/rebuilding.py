"""Rebuilding and verifying a read model while it is written to and read (docs/adr/0016).

A new generation is filled from the log, behind the live one and never ahead of it. Twice the writers are kept still for
a moment, in which both generations are brought to the same offsets: once to fix the moment at which they are compared,
once to switch. Readers never wait, and see the same on both sides of the switch.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice

from crm_events.registry import Registry
from crm_platform import mongo
from crm_platform.authenticity import Authenticator
from crm_platform.crash_points import CrashPoint, passing
from crm_platform.cursor import CursorMovedError
from crm_platform.generations import LEASE_SECONDS, Generation, Generations
from crm_platform.inbound import RecordReader
from crm_platform.mongo_transactions import Transactions
from crm_platform.projection import Projection
from crm_platform.projection_store import ProjectionStore
from crm_platform.rebuild.beside import Beside
from crm_platform.rebuild.comparison import Comparison, Difference
from crm_platform.rebuild.filler import Offsets
from crm_platform.rebuild.lanes import lanes
from crm_platform.rebuild.refusals import RebuildRefusedError
from crm_platform.rebuild.report import Report

NAMED_DIFFERENCES = 1_000


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
        async with self._filling(await self._generations.begin()) as beside:
            await beside.fill()
            differences = await self._compared(beside)
            if differences and not accept_differences:
                raise RebuildRefusedError(
                    f"the generation that was filled differs from the live one in {differences} documents, which are"
                    " named above; switch all the same with --accept-differences, or give it up with --abandon"
                )
            await self._switch(beside)

    async def rollback(self) -> None:
        """Bring the generation before the live one up to date, and switch back to it. Raises RebuildRefusedError."""
        standings = await self._generations.standings()
        if standings.previous is not None and standings.building is None:
            await self._generations.begin_again_with(self._generations.of(standings.previous))
        elif standings.building is None:
            raise RebuildRefusedError("there is no generation to go back to")
        elif standings.building > standings.live:
            raise RebuildRefusedError(
                f"generation {standings.building} is half filled, by a rebuild or verification that was interrupted:"
                " call that again to bring it to its end, or give it up with --abandon; then go back"
            )
        async with self._filling(await self._generations.begin()) as beside:
            await beside.fill()
            await self._switch(beside)

    async def verify(self) -> int:
        """Fold the log independently and compare; returns how many documents of the live generation differ."""
        standings = await self._generations.standings()
        if standings.building is not None and standings.building < standings.live:
            raise RebuildRefusedError("it is being rolled back: let that come to its end first")
        async with self._filling(await self._generations.begin()) as beside:
            await beside.fill()
            differences = await self._compared(beside)
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

    @asynccontextmanager
    async def _filling(self, building: Generation) -> AsyncIterator[Beside]:
        site, built = self._site, self._store_of(building)
        live = self._store_of(self._generations.of((await self._generations.standings()).live))
        await self._transactions.open()
        await built.prepare(indexed=False)
        reader = RecordReader(site.registry, site.projection.folds, site.authenticator)
        try:
            async with lanes(building, site.database, reader, site.bootstrap) as filling:
                self._report.tell("filling", read_model=self._name, generation=building.number)
                yield Beside(self._generations, live, built, filling, self._report)
        except CursorMovedError as other:
            raise RebuildRefusedError(
                f"another rebuild of {self._name} is under way; let it come to its end"
            ) from other

    # -- comparing

    async def _compared(self, beside: Beside) -> int:
        """How many documents differ; each is reported."""
        live, built = beside.live.generation, beside.built.generation
        with self._site.database.client.delegate.start_session(snapshot=True) as session:
            comparison = Comparison(self._site.database, session, live, built)

            async def pin(_: Offsets) -> None:
                await asyncio.to_thread(comparison.pin)

            await beside.when_still(pin)
            self._report.tell("comparing", read_model=self._name, live=live.number, filled=built.number)
            return await asyncio.to_thread(self._told, comparison)

    def _told(self, comparison: Comparison) -> int:
        found = comparison.differences()
        named = [self._named(difference) for difference in islice(found, NAMED_DIFFERENCES)]
        differences = len(named) + sum(1 for _ in found)
        digests = {name: digest.hex for name, digest in comparison.digests.items()}
        documents = sum(digest.documents for digest in comparison.digests.values())
        self._report.tell("compared", documents=documents, differences=differences, digests=digests)
        return differences

    def _named(self, difference: Difference) -> str:
        self._report.tell(
            "difference", collection=difference.collection, id=difference.id, fields=list(difference.fields)
        )
        return difference.id

    # -- switching

    async def _switch(self, beside: Beside) -> None:
        live, built = beside.live, beside.built

        async def switch(offsets: Offsets) -> None:
            def work(session: mongo.Session) -> None:
                stands = live.cursors.fence_in(offsets, session)
                if {place: cursor.next_offset for place, cursor in stands.items()} != dict(offsets):
                    raise CursorMovedError(live.generation.identity)
                self._generations.switch(live.generation, built.generation, session)

            await self._transactions.run(work)
            passing(CrashPoint.REBUILD_SWITCHED)
            # Readers may go by the row as it was for so long yet: until then nobody writes, and they see the same.
            await self._generations.freeze()
            await asyncio.sleep(LEASE_SECONDS * 1.5)

        await beside.when_still(switch)
        self._report.tell("switched", read_model=self._name, live=built.generation.number)
