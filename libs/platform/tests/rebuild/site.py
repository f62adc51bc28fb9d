"""A read model with traffic, readers that never look away, and its rebuild, for the tests of this folder."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiokafka import ConsumerRecord
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record, publish
from libs.platform.tests.purchases import PurchaseRow, TotalRow, noted
from libs.platform.tests.shop import EVENTS
from libs.platform.tests.waiting import eventually

from crm_events.topics import Topic
from crm_platform import mongo
from crm_platform.finishing import to_its_end
from crm_platform.generations import LEASE_SECONDS, Generation, Generations
from crm_platform.keyring import Keyring
from crm_platform.live_read_model import LiveReadModel
from crm_platform.projection import Projection
from crm_platform.projection_parking import ProjectionParking
from crm_platform.projector import Projector
from crm_platform.rebuild.rebuilding import Rebuilding, Site
from crm_platform.sealing import InstallationKey
from crm_platform.testing import story_id
from crm_platform.wakeup import Wakeup

KEYS = 20


class Told:
    """Keeps what a rebuild tells."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.done: list[int] = []

    def progress(self, phase: str, done: int, total: int) -> None:
        assert done <= total, phase
        self.done.append(done)

    def tell(self, what: str, **members: Any) -> None:
        self.lines.append({"what": what, **members})

    def of(self, what: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["what"] == what]


@dataclass
class Workshop:
    """One read model on a topic of its own."""

    projection: Projection
    topic: Topic
    database: mongo.Database
    bootstrap: str
    applied: Wakeup = field(default_factory=Wakeup)
    told: Told = field(default_factory=Told)
    sent: int = 0

    @property
    def generations(self) -> Generations:
        return Generations(self.projection, self.database)

    def projector(self, projection: Projection | None = None) -> Projector:
        return Projector(
            projection or self.projection, EVENTS, self.database, AUTHENTICATOR, self.bootstrap, "0", self.applied
        )

    def parking(self, projection: Projection | None = None) -> ProjectionParking:
        return ProjectionParking(projection or self.projection, EVENTS, self.database, AUTHENTICATOR, self.applied)

    def rebuilding(self, projection: Projection | None = None) -> Rebuilding:
        site = Site(projection or self.projection, self.database, EVENTS, AUTHENTICATOR, self.bootstrap)
        return Rebuilding(site, self.told)

    def reader(self) -> LiveReadModel:
        keyring = Keyring(self.database, InstallationKey(b"i" * 32), "", "", Wakeup())
        return LiveReadModel(self.projection, self.database, EVENTS, keyring, self.applied)

    def record(self, number: int, text: str = "") -> ConsumerRecord:
        """The event of that number: the keys take turns, all in one partition."""
        key, sequence = story_id(f"key {number % KEYS}"), (number - 1) // KEYS + 1
        return as_record(self.topic, 0, noted(key, sequence, text), (number, number - 1))

    async def publish(self, count: int, poisoned: int | None = None, poison: str = "") -> None:
        """The next events."""
        numbers = range(self.sent + 1, self.sent + count + 1)
        await publish(self.bootstrap, [self.record(n, poison if n == poisoned else "") for n in numbers])
        self.sent += count

    async def flow(self, pause: float = 0.005) -> None:
        """Traffic without end."""
        while True:
            # Whoever ends the traffic must not part a record that is sent from its being counted.
            await to_its_end(self.publish(1))
            await asyncio.sleep(pause)

    async def caught_up(self) -> None:
        """The live generation has applied all that was sent."""
        wanted = self.sent
        await eventually(lambda: self._has_read(wanted))

    async def _has_read(self, position: int) -> bool:
        model = await self.reader().current()
        return await model.has_seen([f"{self.topic.name}/0@{position}"])

    async def rows(self, generation: int) -> list[mongo.Row]:
        """Every document of a generation."""
        found: list[mongo.Row] = []
        for kind in (PurchaseRow, TotalRow):
            name = Generation(self.projection, generation).collection_name(kind)
            found += await self.database[name].find().sort("_id", 1).to_list(None)
        return found

    async def indexes(self, generation: int) -> list[dict[str, Any]]:
        """Those of each collection of a generation; the read model keeps its history."""
        names = Generation(self.projection, generation).collections()
        assert len(names) > len(self.projection.documents()), "the history is looked at, too"
        return [dict(await self.database[name].index_information()) for name in names]

    async def collections(self) -> list[str]:
        return sorted(await self.database.list_collection_names())


class Watcher:
    """A reader that looks again and again, in the way of an API process, and remembers the furthest it has seen."""

    def __init__(self, workshop: Workshop, out_of_step: float = 0.0) -> None:
        """`out_of_step` is by how much of a lease it looks later than others which live generation there is."""
        self._reader = workshop.reader()
        self._out_of_step = out_of_step
        self._place = f"{workshop.topic.name}/0"
        self.looks = 0
        self.furthest = 0
        self.generations: list[int] = []
        self.slowest = 0.0

    async def watch(self, others: list["Watcher"]) -> None:
        """Look for ever; what anybody saw before this look began is seen by it, too."""
        await asyncio.sleep(LEASE_SECONDS * self._out_of_step)
        while True:
            seen_before = max(watcher.furthest for watcher in others)
            began = asyncio.get_running_loop().time()
            model = await self._reader.current()
            row = await model.collection(TotalRow).find_one({"_id": self._place})
            self.slowest = max(self.slowest, asyncio.get_running_loop().time() - began)
            count = row["count"] if row else 0
            assert count >= seen_before, f"{count} after {seen_before}, in generation {model.generation.number}"
            self.furthest = max(self.furthest, count)
            if model.generation.number not in self.generations[-1:]:
                self.generations.append(model.generation.number)
            self.looks += 1
