"""The generations of a read model: fillings of it that stand side by side, of which readers see one (docs/adr/0016).

A rebuild fills a new generation beside the live one and then makes it the live one. Each has documents, cursors and
parked events of its own. Which one is live stands in one row, which readers look at again once a second: so whoever
switches keeps both generations still, and equal, for longer than that, and no reader steps back in time.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from crm_platform import mongo
from crm_platform.projection import Document, Projection

COLLECTION = "read_models"
HISTORY = "history"

LEASE_SECONDS = 1.0
"""So long a reader may go by the row without reading it again."""
FREEZE_SECONDS = 5.0
"""A freeze that its owner does not renew ends by itself: nobody waits for a rebuild that died."""
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Generation:
    """One filling of a read model. `number` counts from 1, which a new installation fills."""

    projection: Projection
    number: int = 1

    @property
    def identity(self) -> str:
        """Under this name its cursors and parked events are kept, and its collections begin with it."""
        name = self.projection.identity
        return name if self.number == 1 else f"{name}.{self.number}"

    def collection_name(self, document: type[Document]) -> str:
        return f"{self.identity}.{document.collection}"

    @property
    def history_name(self) -> str:
        """Where the events are kept that were folded, if the read model keeps them."""
        return f"{self.identity}.{HISTORY}"

    def collections(self) -> list[str]:
        """Every collection that is this generation's alone."""
        names = sorted(self.collection_name(document) for document in self.projection.documents())
        return [*names, self.history_name] if self.projection.keeps_history else names


@dataclass(frozen=True, slots=True)
class Standings:
    """Which generations there are: readers see `live`; `previous` is kept to go back to; `building` is being filled.

    `frozen` says that no generation may be written to for the moment.
    """

    live: int = 1
    previous: int | None = None
    building: int | None = None
    newest: int = 1
    frozen: bool = False


class NotLiveError(Exception):
    """Another generation has become the live one, or is about to."""


class Generations:
    """The row that says which generation of a read model is live."""

    def __init__(self, projection: Projection, database: mongo.Database) -> None:
        self.projection = projection
        self._id = projection.identity
        self._rows = database[COLLECTION]
        self._live: Generation | None = None
        self._looked_at = 0.0
        self._looking = asyncio.Lock()

    def of(self, number: int) -> Generation:
        return Generation(self.projection, number)

    async def prepare(self) -> None:
        """The row exists before the first transaction that reads it."""
        await self._rows.update_one({"_id": self._id}, {"$setOnInsert": _row(Standings())}, upsert=True)

    async def standings(self) -> Standings:
        """As they are stored now. Raises MongoError."""
        found = await self._rows.aggregate(_one(self._id)).to_list(1)
        return _standings(found)

    async def live(self) -> Generation:
        """The generation that readers see, as known for at most `LEASE_SECONDS`. Raises MongoError."""
        if self._live is None or monotonic() - self._looked_at > LEASE_SECONDS:
            async with self._looking:
                await self._look()
        assert self._live is not None  # noqa: S101 - looked up above
        return self._live

    async def _look(self) -> None:
        if self._live is not None and monotonic() - self._looked_at <= LEASE_SECONDS:
            return
        looked_at = monotonic()
        self._live = self.of((await self.standings()).live)
        self._looked_at = looked_at

    async def writable(self) -> Generation:
        """The live generation, once it may be written to. Raises MongoError."""
        while (found := await self.standings()).frozen:  # noqa: ASYNC110 - another process thaws it
            await asyncio.sleep(LOOK_SECONDS)
        return self.of(found.live)

    async def is_writable(self, generation: Generation) -> bool:
        """Whether it is the live generation, and nobody keeps it still."""
        found = await self.standings()
        return found.live == generation.number and not found.frozen

    def must_be_live(self, generation: Generation, session: mongo.Session) -> None:
        """Within a transaction that writes to the generation; raises NotLiveError."""
        found = _standings(list(mongo.blocking(self._rows).aggregate(_one(self._id), session=session)))
        if found.live != generation.number or found.frozen:
            raise NotLiveError(f"generation {generation.number} of {self._id} is not the live one, or kept still")

    # -- for whoever rebuilds

    async def begin(self) -> Generation:
        """The generation that is being filled, else a new one. Raises MongoError."""
        await self.prepare()
        begun = {"$set": {"building": {"$ifNull": ["$building", {"$add": ["$newest", 1]}]}}}
        counted = {"$set": {"newest": {"$max": ["$newest", "$building"]}}}
        await self._rows.update_one({"_id": self._id}, [begun, counted])
        building = (await self.standings()).building
        assert building is not None  # noqa: S101 - set above
        return self.of(building)

    async def begin_again_with(self, generation: Generation) -> None:
        """The previous generation is brought up to date, to become the live one again."""
        await self._rows.update_one({"_id": self._id}, {"$set": {"building": generation.number, "previous": None}})

    async def forget_building(self) -> None:
        await self._rows.update_one({"_id": self._id}, {"$set": {"building": None}})

    async def forget_previous(self) -> None:
        await self._rows.update_one({"_id": self._id}, {"$set": {"previous": None}})

    async def freeze(self) -> None:
        """No generation is written to from now on, until `thaw` or for `FREEZE_SECONDS`, whichever is first.

        Batches under way are not ended by this: fence their cursors, too.
        """
        until = {"$add": ["$$NOW", int(FREEZE_SECONDS * 1000)]}
        await self._rows.update_one({"_id": self._id}, [{"$set": {"frozen_until": until}}])

    async def thaw(self) -> None:
        await self._rows.update_one({"_id": self._id}, {"$unset": {"frozen_until": ""}})

    def switch(self, live: Generation, built: Generation, session: mongo.Session) -> None:
        """Make `built` the live generation, within a transaction that fences the cursors of `live`."""
        switched = {"live": built.number, "previous": live.number, "building": None}
        expected = {"_id": self._id, "live": live.number, "building": built.number}
        if not mongo.blocking(self._rows).update_one(expected, {"$set": switched}, session=session).matched_count:
            raise NotLiveError(f"somebody else has switched the generations of {self._id} meanwhile")


def _one(id: str) -> list[Mapping[str, Any]]:  # noqa: A002 - the row's id
    """The row, with `frozen` told by the server's clock."""
    return [{"$match": {"_id": id}}, {"$set": {"frozen": {"$gt": ["$frozen_until", "$$NOW"]}}}]


def _standings(rows: list[mongo.Row]) -> Standings:
    if not rows:
        return Standings()
    row = rows[0]
    return Standings(row["live"], row["previous"], row["building"], row["newest"], row["frozen"])


def _row(standings: Standings) -> mongo.Row:
    return {
        "live": standings.live,
        "previous": standings.previous,
        "building": standings.building,
        "newest": standings.newest,
    }
