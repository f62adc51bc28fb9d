"""A small world in memory: stores, a log, readers that die, and an operator; its clockwork is one seeded generator.

Everything that decides is the platform's own: Outbox, RecordReader, deliver, redeliver, Folding, Standing. What is made
up here is only what they stand on: tables that commit or do not, partitions that lose their end, processes that stop
between two steps. Its rules are those of the real parts, whose own tests hold them to it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

import orjson
from aiokafka import ConsumerRecord, TopicPartition
from libs.platform.tests.kafka_topics import AUTHENTICATOR
from libs.platform.tests.purchases import purchases_of
from libs.platform.tests.shop import EVENTS, PurchaseCounted, PurchaseNoted
from msgspec.structs import replace

from crm_events.envelope import Recorded, to_document
from crm_events.event import Event
from crm_events.topics import Topic
from crm_platform.cursor import Cursor, Cursors
from crm_platform.delivery import Parked, Progress, Standing, deliver, place_of, redeliver
from crm_platform.event_store.mapper import PRIVATE
from crm_platform.event_store.recorder import Notification
from crm_platform.folding import Folding, Rows, Target, rows_of
from crm_platform.inbound import Inbound, RecordReader
from crm_platform.look_back import LookBack
from crm_platform.outbox import Checkpoint, Outbox
from crm_platform.projection import Document, Fold, Projection
from crm_platform.testing import SOME_STREAM, SOME_TIME, recorded

SHOP = Topic("sim.shop", partitions=3)
STREAMS = tuple(uuid5(SOME_STREAM, f"stream {n}") for n in range(7))
POISONED = STREAMS[3]
"""What is noted here now and then cannot be folded until somebody mends it."""
POISON = "cannot be folded yet"


class GuardFailedError(Exception):
    """The stored cursor is not what the batch began with."""


@dataclass
class EventTable:
    """A service's event store: positions grow, with holes, and an append is whole or not at all."""

    rows: list[Notification] = field(default_factory=list)
    newest: int = 0

    def append(self, events: Sequence[Recorded[Event]], chance: random.Random) -> None:
        for event in events:
            self.newest += chance.choice((1, 1, 1, 2, 5))
            topic = event.data.type_name() if event.data.public else f"{PRIVATE}{event.data.type_name()}"
            state = orjson.dumps(to_document(event))
            self.rows.append(Notification(self.newest, event.subject, event.sequence, topic, state))

    def after(self, position: int, limit: int) -> list[Notification]:
        return [row for row in self.rows if row.position > position][:limit]

    def version(self, stream: UUID) -> int:
        return sum(1 for row in self.rows if row.stream == stream)


@dataclass
class Log:
    """A topic: partitions of records; an offset is never used again, also where the end was lost."""

    topic: Topic
    partitions: list[list[ConsumerRecord]] = field(init=False)

    def __post_init__(self) -> None:
        self.partitions = [[] for _ in range(self.topic.partitions)]

    def append(self, partition: int, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
        records = self.partitions[partition]
        offset = records[-1].offset + 1 if records else 0
        records.append(
            ConsumerRecord(
                topic=self.topic.name,
                partition=partition,
                offset=offset,
                timestamp=1_700_000_000_000,
                timestamp_type=0,
                key=key,
                value=value,
                checksum=None,
                serialized_key_size=len(key),
                serialized_value_size=len(value),
                headers=tuple(headers),
            )
        )

    def from_offset(self, place: TopicPartition, offset: int, limit: int) -> list[ConsumerRecord]:
        records = self.partitions[place.partition]
        shorter = offset > (records[-1].offset + 1 if records else 0)
        return [record for record in records if shorter or record.offset >= offset][:limit]

    def last_positions(self) -> dict[int, int]:
        """As the relay reads them: of the last record that proves its place."""
        reader = RecordReader(EVENTS, (), AUTHENTICATOR)
        found = {}
        for number, records in enumerate(self.partitions):
            links = [link for record in reversed(records) if (link := reader.read(record).link)]
            if links:
                found[number] = links[0].position
        return found


class SimulatedRelay:
    """One process's relay: it may die between any two of its steps, and two may run at once."""

    def __init__(self, table: EventTable, log: Log, kept: dict[str, Checkpoint]) -> None:
        self._table = table
        self._log = log
        self._kept = kept
        self._outbox = Outbox(SHOP, AUTHENTICATOR)
        self._checkpoint: Checkpoint | None = None

    def die(self) -> None:
        self._checkpoint = None

    def step(self, chance: random.Random) -> None:
        """Read, send and save, or die on the way."""
        if self._checkpoint is None:
            self._checkpoint = self._begun()
        checkpoint = Checkpoint(self._checkpoint.position, dict(self._checkpoint.partitions))
        outgoing = self._outbox.records(self._table.after(checkpoint.position, chance.randint(1, 6)), checkpoint)
        by_partition: dict[int, list[int]] = {}
        for index, record in enumerate(outgoing):
            by_partition.setdefault(record.partition, []).append(index)
        dies_after = chance.choice((None, None, None, chance.randint(0, len(outgoing))))
        order = sorted(by_partition, key=lambda _: chance.random())
        sent = 0
        for partition in order:
            for index in by_partition[partition]:
                if sent == dies_after:
                    self.die()
                    return
                self._log.append(*outgoing[index])
                sent += 1
        if dies_after is not None:
            self.die()
            return
        self._checkpoint = checkpoint
        self._kept["relay"] = Checkpoint(checkpoint.position, dict(checkpoint.partitions))

    def _begun(self) -> Checkpoint:
        kept = self._kept.get("relay", Checkpoint())
        checkpoint = Checkpoint(kept.position, dict(kept.partitions))
        position = self._outbox.position_to_set_back_to(checkpoint, self._log.last_positions(), self._table.newest)
        if position is None:
            return checkpoint
        set_back = Checkpoint()
        self._outbox.records([row for row in self._table.rows if row.position <= position], set_back)
        return set_back


@dataclass
class Documents:
    """A read model's tables, or a policy's: what is stored, the cursors and the lot change together or not at all."""

    rows: dict[Target, dict[str, Any]] = field(default_factory=dict)
    effects: list[UUID] = field(default_factory=list)
    cursors: Cursors = field(default_factory=dict)
    parked: list[Parked] = field(default_factory=list)
    furthest: dict[TopicPartition, int] = field(default_factory=dict)

    def standing(self, places: Sequence[TopicPartition]) -> Standing:
        keys: dict[TopicPartition, set[str]] = {}
        for inbound, _ in self.parked:
            keys.setdefault(place_of(inbound.record), set()).add(inbound.key)
        return Standing({place: self.cursors.get(place, Cursor()) for place in places}, keys)

    def check(self, before: Cursors, after: Cursors) -> None:
        """The compare-and-set of every cursor that a batch moves."""
        for place in after:
            stored = self.cursors.get(place, Cursor())
            mine = before[place]
            if (mine.stored, mine.next_offset, mine.resolved) != (stored.stored, stored.next_offset, stored.resolved):
                raise GuardFailedError(place)

    def move(self, after: Cursors, parked: Sequence[Parked]) -> None:
        for place, cursor in after.items():
            kept = self.cursors.get(place, Cursor())
            assert cursor.position >= kept.position, f"the position of {place} went back"
            self.cursors[place] = replace(cursor.kept(), resolved=kept.resolved)
        self.parked.extend(parked)

    def resolve(self, place: TopicPartition) -> None:
        self.cursors[place] = replace(self.cursors[place], resolved=self.cursors[place].resolved + 1)


class Reader:
    """One member of a consumer group. It believes in its standing until the store says otherwise."""

    def __init__(self, documents: Documents, log: Log, *, projection: Projection | None) -> None:
        self._documents = documents
        self._log = log
        self.projection = projection
        handled = projection.folds if projection else (PurchaseNoted,)
        self._reader = RecordReader(EVENTS, handled, AUTHENTICATOR)
        self._standing = Standing()
        self._look_backs: dict[TopicPartition, LookBack] = {}
        self._reads_from: dict[TopicPartition, int] = {}

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self._standing = self._documents.standing(places)
        self._look_backs = {place: LookBack() for place in places}
        starts = {place: self._look_backs[place].start(cursor, 0) for place, cursor in self._standing.cursors.items()}
        self._reads_from = {place: start for place, start in starts.items() if start is not None}

    def die(self) -> None:
        """Another process takes over at the stored cursors, in the same partitions."""
        self.assign(list(self._standing.cursors))

    def step(self, chance: random.Random) -> None:
        """Take a batch of some partitions, have its effect, and store it or die before or after that."""
        records = [
            record
            for place, cursor in self._standing.cursors.items()
            if chance.random() < 0.7
            for record in self._log.from_offset(
                place, self._reads_from.pop(place, cursor.next_offset), chance.randint(1, 8)
            )
        ]
        if not records:
            return
        progress = Progress(self._standing)
        inbounds = [self._reader.read(record) for record in records]
        if chance.random() < 0.1:
            self.die()
            return
        try:
            self._store(inbounds, progress)
        except GuardFailedError:
            self.die()
            return
        if chance.random() < 0.1:
            self.die()
        else:
            self._standing.advance(progress)
            self._look_for_what_is_missing(progress)

    def _fetched(self, place: TopicPartition, cursor: Cursor, limit: int) -> list[ConsumerRecord]:
        return self._log.from_offset(place, self._reads_from.pop(place, cursor.next_offset), limit)

    def _look_for_what_is_missing(self, progress: Progress) -> None:
        for place, cursor in progress.cursors.items():
            start = self._look_backs[place].start(cursor, 0)
            if start is not None:
                self._reads_from[place] = start

    def _store(self, inbounds: Sequence[Inbound], progress: Progress) -> None:
        if self.projection is None:
            reacted: list[UUID] = []
            deliver(inbounds, progress, lambda _, event: reacted.append(event.id))
            self._documents.check(self._standing.cursors, progress.cursors)
            self._documents.effects += reacted
        else:
            folding = Folding(self.projection, inbounds)
            folding.use(_loaded(self._documents, folding))
            deliver(inbounds, progress, folding.effect)
            self._documents.check(self._standing.cursors, progress.cursors)
            self._documents.rows |= rows_of(folding.changed.items())
        self._documents.move(progress.cursors, progress.parked)


def _loaded(documents: Documents, folding: Folding) -> Rows:
    return {target: documents.rows[target] for target in folding.targets() if target in documents.rows}


class Operator:
    """Tries parked keys again, while everything goes on."""

    def __init__(self, documents: Documents, projection: Projection) -> None:
        self._documents = documents
        self.projection = projection

    def retry(self, chance: random.Random) -> None:
        keys = sorted({(place_of(parked.inbound.record), parked.inbound.key) for parked in self._documents.parked})
        if not keys:
            return
        place, key = chance.choice(keys)
        waiting = [p for p in self._documents.parked if (place_of(p.inbound.record), p.inbound.key) == (place, key)]
        some = waiting[: chance.randint(1, len(waiting))]
        reader = RecordReader(EVENTS, self.projection.folds, AUTHENTICATOR)
        folding = Folding(self.projection, [reader.read(parked.inbound.record) for parked in some])
        folding.use(_loaded(self._documents, folding))
        done, _ = redeliver(folding.inbounds, folding.effect)
        self._documents.resolve(place)
        self._documents.rows |= rows_of(folding.changed.items())
        gone = {id(parked) for parked in some[:done]}
        self._documents.parked[:] = [parked for parked in self._documents.parked if id(parked) not in gone]


class World:
    """One service that writes, its relays, a read model and a policy that follow it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - a simulation must be repeatable
        self.table, self.log = EventTable(), Log(SHOP)
        kept: dict[str, Checkpoint] = {}
        self.relays = [SimulatedRelay(self.table, self.log, kept) for _ in range(2)]
        self.model, self.reactions = Documents(), Documents()
        broken, self.mended = purchases_of(SHOP, apply=_cannot_fold_poison), purchases_of(SHOP)
        self.projectors = [Reader(self.model, self.log, projection=broken) for _ in range(2)]
        self.policies = [Reader(self.reactions, self.log, projection=None) for _ in range(2)]
        self.operator = Operator(self.model, self.mended)
        self.poisonous = self.chance.random() < 0.5
        self._rebalance()

    def run(self, steps: int) -> None:
        """So many steps, each by whoever's turn it is, and then peace: everybody works until all is done."""
        for _ in range(steps):
            self._step()
        self._settle()

    def _step(self) -> None:
        actions = (
            (30, self._command),
            (30, lambda: self.chance.choice(self.relays).step(self.chance)),
            (30, lambda: self.chance.choice(self.projectors).step(self.chance)),
            (30, lambda: self.chance.choice(self.policies).step(self.chance)),
            (4, lambda: self.chance.choice(self.relays).die()),
            (4, self._rebalance),
            (3, self._log_loses_its_end),
            (3, self._stranger_writes),
            (3, lambda: self.operator.retry(self.chance)),
        )
        weights = [weight for weight, _ in actions]
        (action,) = self.chance.choices([act for _, act in actions], weights)
        action()

    def _command(self) -> None:
        """One to three events of one stream, in one transaction; some of them private."""
        stream = self.chance.choice(STREAMS)
        version = self.table.version(stream)
        events = [self._event(stream, version + n + 1) for n in range(self.chance.randint(1, 3))]
        self.table.append(events, self.chance)

    def _event(self, stream: UUID, sequence: int) -> Recorded[Event]:
        if self.chance.random() < 0.2:
            return recorded(PurchaseCounted(occurred_at=SOME_TIME, count=1), subject=stream, sequence=sequence)
        poison = self.poisonous and stream == POISONED and self.chance.random() < 0.3
        text = POISON if poison else str(sequence)
        return recorded(PurchaseNoted(occurred_at=SOME_TIME, text=text), subject=stream, sequence=sequence)

    def _rebalance(self) -> None:
        """Partitions are dealt anew. Who loses one may not notice: it stays in its standing, as a zombie."""
        places = [TopicPartition(SHOP.name, n) for n in range(SHOP.partitions)]
        for group in (self.projectors, self.policies):
            dealt = {place: self.chance.randrange(len(group)) for place in places}
            for number, member in enumerate(group):
                if self.chance.random() < 0.8:
                    member.assign([place for place in places if dealt[place] == number])

    def _log_loses_its_end(self) -> None:
        """The broker comes back without its last records; what relays have in hand is of no use any more."""
        records = self.chance.choice(self.log.partitions)
        del records[len(records) - self.chance.randint(0, min(3, len(records))) :]
        for relay in self.relays:
            relay.die()

    def _stranger_writes(self) -> None:
        """A record that no relay wrote, with a place far ahead, under a key that nobody else uses."""
        headers = [("ce_position", b"999999"), ("ce_previous", b"0"), ("crm-mac", b"x" * 16)]
        self.log.append(self.chance.randrange(SHOP.partitions), b"stranger", b"{}", headers)

    def _life_goes_on(self) -> None:
        """More events in every stream: a partition that was refilled to just where its readers stood shows it so."""
        for stream in STREAMS * 4:
            number = self.table.version(stream) + 1
            event = PurchaseNoted(occurred_at=SOME_TIME, text=str(number))
            self.table.append([recorded(event, subject=stream, sequence=number)], self.chance)

    def _settle(self) -> None:
        places = [TopicPartition(SHOP.name, n) for n in range(SHOP.partitions)]
        for group in (self.projectors, self.policies):
            for member in group[1:]:
                member.assign([])
            group[0].assign(places)
        self._life_goes_on()
        for _ in range(400):
            self.relays[0].step(self.chance)
            self.projectors[0].step(self.chance)
            self.policies[0].step(self.chance)
            # Now and then only: each time, the batch under way is begun again.
            if self.chance.random() < 0.3:
                self.operator.retry(self.chance)
            if self._is_done():
                return
        raise AssertionError("the world does not come to rest")

    def _is_done(self) -> bool:
        heads = self.heads()
        followed = all(
            documents.cursors.get(place, Cursor()).position == position
            for documents in (self.model, self.reactions)
            for place, position in heads.items()
        )
        return followed and not [parked for parked in self.model.parked if parked.inbound.key != "stranger"]

    def heads(self) -> dict[TopicPartition, int]:
        """The position of the last published event of each partition, as the store has it."""
        outbox, heads = Outbox(SHOP, AUTHENTICATOR), Checkpoint()
        outbox.records(self.table.rows, heads)
        return {TopicPartition(SHOP.name, partition): position for partition, position in heads.partitions.items()}


def _cannot_fold_poison(
    projection: Projection, fold: Fold, document: Document | None, event: Recorded[PurchaseNoted]
) -> Document:
    if event.data.text == POISON:
        raise ValueError(event.data.text)
    folded: Document = getattr(projection, fold.method)(document, event)
    return folded
