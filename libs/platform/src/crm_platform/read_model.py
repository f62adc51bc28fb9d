"""Questions to one generation of a read model: the only way in for queries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from aiokafka import TopicPartition
from bson.codec_options import CodecOptions
from pydantic import BaseModel

from crm_events.registry import Registry
from crm_platform import kafka, mongo
from crm_platform.cursor import Cursor, Cursors
from crm_platform.delivery import Standing
from crm_platform.errors import NotFound, Unavailable
from crm_platform.folding import from_row
from crm_platform.generations import Generation
from crm_platform.history import History
from crm_platform.http.paging import Page, PageRequest
from crm_platform.keyring import Keyring
from crm_platform.mongo_cursors import MongoCursors
from crm_platform.mongo_parking import MongoParking
from crm_platform.projection import Document
from crm_platform.sealing import SealedBlock

D = TypeVar("D", bound=Document)
B = TypeVar("B", bound=BaseModel)

_NAIVE_UTC: CodecOptions[mongo.Row] = CodecOptions(tz_aware=False)


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far a read model has read one topic.

    `position` is the highest position applied, by partition; `recorded_at` when the newest event applied was recorded;
    `age_seconds` how long ago that was. None where nothing was applied yet.
    """

    position: Mapping[str, int]
    recorded_at: datetime | None
    age_seconds: float | None


class ReadModel:
    """The documents that one generation of a read model keeps, and the events behind them, if it keeps those."""

    def __init__(self, generation: Generation, database: mongo.Database, registry: Registry, keyring: Keyring) -> None:
        self.generation = generation
        self._projection = generation.projection
        self._database = database
        self._keyring = keyring
        self._cursors = MongoCursors(database, generation.identity)
        self._parking = MongoParking(database, generation.identity)
        self._topics = {topic.name for topic in self._projection.topics}
        self.history = History(database[generation.history_name], registry)

    def collection(self, document: type[Document]) -> mongo.Collection:
        return self._database[self.collection_name(document)]

    def collection_name(self, document: type[Document]) -> str:
        """The name of the documents' collection, for pipelines that join."""
        return self.generation.collection_name(document)

    async def get(self, document: type[D], id: UUID | str) -> D:  # noqa: A002 - the document's id
        """The document with that id; raises NotFound."""
        row = await self.collection(document).find_one({"_id": str(id)})
        if row is None:
            raise NotFound(f"There is no {document.__name__.removesuffix('Row').lower()} {id} here.")
        return _typed(row, document)

    async def find(
        self,
        document: type[D],
        where: Mapping[str, object],
        *,
        sort: Sequence[tuple[str, int]] = (),
        limit: int = 0,
    ) -> list[D]:
        """The documents that match; `where` is a MongoDB filter made by us, never by a client."""
        found = self.collection(document).find(dict(where), limit=limit)
        rows = await (found.sort(list(sort)) if sort else found).to_list(None)
        return [_typed(row, document) for row in rows]

    async def page(
        self, document: type[D], paging: PageRequest, where: Mapping[str, object], *, newest_by: str
    ) -> Page[D]:
        """A page of the documents that match, newest first by that instant, ties by id."""
        # Both conditions may hold an $or, so they are not merged.
        where = {"$and": [dict(where), _after(paging, newest_by)]}
        rows = await self.find(document, where, sort=((newest_by, -1), ("_id", -1)), limit=paging.limit + 1)
        items = rows[: paging.limit]
        more = len(rows) > paging.limit
        return paging.page(items, (getattr(items[-1], newest_by), items[-1].id) if more else None)

    async def aggregate(self, document: type[Document], pipeline: Sequence[Mapping[str, Any]]) -> list[mongo.Row]:
        """Raw rows of an aggregation over the documents' collection; their instants are UTC, without a time zone."""
        # To give every instant a time zone takes the driver twice as long as all the rest of decoding.
        collection = self.collection(document).with_options(codec_options=_NAIVE_UTC)
        return await collection.aggregate([dict(stage) for stage in pipeline]).to_list(None)

    async def open(self, block: SealedBlock | None, kind: type[B]) -> B | None:
        """A personal block in the clear, at the edge; None where it is absent or erased."""
        return (await self.open_all((block,), kind))[0]

    async def open_all(self, blocks: Sequence[SealedBlock | None], kind: type[B]) -> list[B | None]:
        """Many personal blocks with one look-up of keys."""
        return await self._keyring.open_all(blocks, kind)

    async def open_all_json(self, blocks: Sequence[SealedBlock | None]) -> list[bytes | None]:
        """Like `open_all`, each block as the JSON object that was sealed."""
        return await self._keyring.open_all_json(blocks)

    async def have_keys(self, keys: Iterable[UUID]) -> None:
        """Have the keys of personal blocks at hand, so that what does not open then is erased, not late.

        Raises Unavailable where that cannot be told now.
        """
        try:
            await self._keyring.prefetch(keys)
        except (*kafka.TRANSIENT, mongo.MongoError) as away:
            raise Unavailable("The keys of personal data cannot be looked up now; try again in a moment.") from away

    # -- read-your-writes and freshness

    async def cursors(self) -> Cursors:
        """How far every partition has been read."""
        return await self._cursors.all()

    async def standing(self, places: set[TopicPartition]) -> Standing:
        """The stored cursors in these partitions, and what is parked there."""
        cursors = await self._cursors.load(places)
        return Standing(cursors, await self._parking.parked_keys(places))

    async def applied(self) -> dict[TopicPartition, int]:
        """Up to which position it shows every event of each partition: the first one that is parked ends that."""
        # The cursors are read first: an event that was passed before that, and not applied, is parked by now.
        cursors = await self._cursors.all()
        parked = await self._parking.first_positions()
        return {
            place: min(cursor.position, parked.get(place, cursor.position + 1) - 1) for place, cursor in cursors.items()
        }

    async def has_seen(self, positions: Sequence[str]) -> bool:
        """Whether it shows what these CRM-Position tokens speak of.

        A token of a topic, or of an answer, that this read model does not follow is no concern of it.
        Raises Unavailable where one speaks of an event that is parked here: no waiting shows that.
        """
        places, answers = _parsed(positions)
        mine = {place: position for place, position in places.items() if place.topic in self._topics}
        cursors = await self._cursors.load(mine) if mine else {}
        if any(cursors.get(place, Cursor()).position < position for place, position in mine.items()):
            return False
        if mine and await self._parking.holds_any(mine):
            raise Unavailable(
                "The write that CRM-After names is not shown here: it could not be applied and waits for an operator."
                " Leave CRM-After out to read what is shown without it."
            )
        for stream, version in answers:
            if not await self._shows(stream, version):
                return False
        return True

    async def _shows(self, stream: str, version: int) -> bool:
        for document, where in self._projection.pending_filter(stream):
            if await self.collection(document).find_one(where, projection={"_id": 1}) is not None:
                return False
        filters = self._projection.seen_filter(stream, version)
        if not filters:
            return True
        for document, where in filters:
            if await self.collection(document).find_one(where, projection={"_id": 1}) is not None:
                return True
        return False

    async def freshness(self) -> dict[str, Freshness]:
        """How far each topic has been read."""
        now = datetime.now(UTC)
        cursors = await self.cursors()
        return {topic: _freshness(topic, cursors, now) for topic in sorted(self._topics)}


def _parsed(positions: Sequence[str]) -> tuple[dict[TopicPartition, int], list[tuple[str, int]]]:
    """Tokens as places in topics, and as answers awaited."""
    places: dict[TopicPartition, int] = {}
    answers: list[tuple[str, int]] = []
    for token in positions:
        place, _, number = token.rpartition("@")
        topic, slash, partition = place.partition("/")
        if slash:
            key = TopicPartition(topic, int(partition))
            places[key] = max(int(number), places.get(key, 0))
        else:
            answers.append((place, int(number)))
    return places, answers


def _freshness(topic: str, cursors: Cursors, now: datetime) -> Freshness:
    mine = {place.partition: cursor for place, cursor in cursors.items() if place.topic == topic}
    newest = max((c.recorded_at for c in mine.values() if c.recorded_at), default=None)
    return Freshness(
        position={str(partition): cursor.position for partition, cursor in sorted(mine.items())},
        recorded_at=newest,
        age_seconds=None if newest is None else max(0.0, (now - newest).total_seconds()),
    )


def _after(paging: PageRequest, field: str) -> dict[str, object]:
    if paging.after is None:
        return {}
    instant, id_ = paging.after
    return {"$or": [{field: {"$lt": instant}}, {field: instant, "_id": {"$lt": id_}}]}


def _typed(row: mongo.Row, document: type[D]) -> D:
    typed = from_row(row, document)
    assert isinstance(typed, document)  # noqa: S101 - from_row makes that kind
    return typed
