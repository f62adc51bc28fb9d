"""Fills some partitions of a generation from the log, from wherever it stands up to given offsets and not further."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from msgspec.structs import replace

from crm_platform.consumer import BATCH_RECORDS, POLL_MILLISECONDS
from crm_platform.crash_points import CrashPoint, passing
from crm_platform.cursor import Cursor
from crm_platform.delivery import Standing, place_of
from crm_platform.inbound import Inbound, RecordReader
from crm_platform.projection_store import DocumentRefusedError, ProjectionStore

Offsets = Mapping[TopicPartition, int]
Filled = Callable[[Offsets], Awaitable[None]]
"""Told where each partition is read next, after every batch."""


class Filler:
    """Reads outside every consumer group; the cursors of the generation say where to go on, also after a crash."""

    def __init__(
        self, store: ProjectionStore, reader: RecordReader, client: AIOKafkaConsumer, places: Sequence[TopicPartition]
    ) -> None:
        self._store = store
        self._reader = reader
        self._client = client
        self._places = places
        self._standing = Standing()
        self._given_up: set[tuple[TopicPartition, int]] = set()
        self.beginnings: Offsets = {}

    async def start(self) -> None:
        """Go to where the generation stands. Raises KafkaError and MongoError."""
        self._client.assign(self._places)
        self.beginnings = await self._client.beginning_offsets(self._places)
        self._standing = await self._store.standing(self._places)
        identity = self._store.generation.projection.identity
        self._given_up = await self._store.parking.discarded(identity)
        for place in self._places:
            cursor = self._standing.cursors.setdefault(place, Cursor(next_offset=self.beginnings[place]))
            self._client.seek(place, max(cursor.next_offset, self.beginnings[place]))

    @property
    def offsets(self) -> Offsets:
        """Where each partition is read next."""
        return {place: cursor.next_offset for place, cursor in self._standing.cursors.items()}

    @property
    def has_gaps(self) -> bool:
        """Whether events are missing in the log as far as it was read."""
        return any(cursor.gap is not None for cursor in self._standing.cursors.values())

    async def has_new_discards(self) -> bool:
        """Whether an operator has discarded events since the filling began: it may have parked them itself."""
        identity = self._store.generation.projection.identity
        return await self._store.parking.discarded(identity) != self._given_up

    async def fill(self, goals: Offsets, filled: Filled) -> None:
        """Read on to these offsets. Raises CursorMovedError where somebody else fills the same generation."""
        while wanted := [place for place in self._places if self.offsets[place] < goals.get(place, 0)]:
            self._read_only(wanted)
            batches = await self._client.getmany(*wanted, timeout_ms=POLL_MILLISECONDS, max_records=BATCH_RECORDS)
            records = [record for batch in batches.values() for record in batch]
            await self._take([record for record in records if record.offset < goals[place_of(record)]])
            for place in {place_of(record) for record in records if record.offset >= goals[place_of(record)]}:
                self._client.seek(place, goals[place])
            await filled(self.offsets)

    def _read_only(self, wanted: Sequence[TopicPartition]) -> None:
        self._client.resume(*wanted)
        rest = [place for place in self._places if place not in wanted]
        if rest:
            self._client.pause(*rest)

    async def _take(self, records: Sequence[ConsumerRecord]) -> None:
        """Apply a batch; what the store refuses is found in halves, and parked."""
        if not records:
            return
        try:
            await self._apply(records)
        except DocumentRefusedError as refusal:
            if len(records) == 1:
                await self._apply(records, because=str(refusal))
                return
            middle = len(records) // 2
            await self._take(records[:middle])
            await self._take(records[middle:])

    async def _apply(self, records: Sequence[ConsumerRecord], because: str | None = None) -> None:
        progress = await self._store.apply([self._read(record) for record in records], self._standing, because)
        self._standing.advance(progress)
        passing(CrashPoint.REBUILD_FILLED)

    def _read(self, record: ConsumerRecord) -> Inbound:
        inbound = self._reader.read(record)
        if (place_of(record), record.offset) in self._given_up:
            return replace(inbound, given_up=True)
        return inbound
