"""Each event of a customer is given once and in the order of its stream, wherever a subscriber stops and goes on."""

from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID, uuid5

from aiokafka import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_events.contacts import party_stream
from crm_events.topics import PARTITIONS
from crm_gateway.subscriptions.belonging import Owned, after_event, after_step, due, next_step
from crm_gateway.subscriptions.cursors import CustomerCursor, SubscriptionCursors, by_topic
from crm_gateway.subscriptions.event_filter import EventFilter
from crm_platform.history import Placed
from crm_platform.partitioning import partition_of
from crm_platform.testing import story_id

CURSORS = SubscriptionCursors(bytes(32), "reader", EventFilter())


class Story(NamedTuple):
    """The streams of a customer: some its own, some made its own by an answer, which is a stream, too."""

    own: dict[UUID, int]
    answered: dict[UUID, int]

    def streams(self) -> Iterator[tuple[str, UUID, int]]:
        yield from (("crm.contacts", stream, length) for stream, length in self.own.items())
        yield from (("crm.sales", stream, length) for stream, length in self.answered.items())
        yield from (("crm.contacts", party_stream(stream), 1) for stream in self.answered)


class Log(NamedTuple):
    """The story as it was published: where each event stands, and how far the partitions reached from time to time."""

    owned: list[Owned]
    points: list[dict[TopicPartition, int]]


def _place(topic: str, stream: UUID) -> TopicPartition:
    return TopicPartition(topic, partition_of(stream, PARTITIONS))


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Any interleaving of the streams, and of the partitions as the read model applied them."""
    lengths = st.integers(1, 4)
    own, asked = draw(st.lists(lengths, max_size=4)), draw(st.lists(lengths, max_size=4))
    story = Story(
        {story_id(f"own {n}"): length for n, length in enumerate(own)},
        {story_id(f"asked {n}"): length for n, length in enumerate(asked)},
    )
    turns = draw(st.permutations([(topic, stream) for topic, stream, length in story.streams() for _ in range(length)]))
    positions, lengths_so_far = {"crm.contacts": 0, "crm.sales": 0}, dict[UUID, int]()
    placed: dict[tuple[UUID, int], Placed] = {}
    for topic, stream in turns:
        positions[topic] += draw(st.integers(1, 3))  # positions have holes
        lengths_so_far[stream] = sequence = lengths_so_far.get(stream, 0) + 1
        placed[stream, sequence] = Placed(_place(topic, stream), positions[topic])
    owned = [
        Owned(
            uuid5(stream, str(sequence)),
            at,
            placed[party_stream(stream), 1] if stream in story.answered else None,
        )
        for (stream, sequence), at in placed.items()
    ]
    return Log(owned, draw(_points(list(placed.values()))))


@st.composite
def _points(draw: st.DrawFn, placed: list[Placed]) -> list[dict[TopicPartition, int]]:
    """How far each partition was applied, again and again, until all of it was."""
    waiting: dict[TopicPartition, list[int]] = {}
    for place, position in placed:
        waiting.setdefault(place, []).append(position)
    point: dict[TopicPartition, int] = {}
    points = [dict(point)]
    for place in draw(st.permutations([place for place, positions in waiting.items() for _ in positions])):
        point[place] = waiting[place].pop(0)
        if draw(st.booleans()):
            points.append(dict(point))
    return [*points, dict(point)]


def _applied(log: Log, point: dict[TopicPartition, int], more: dict[TopicPartition, int]) -> list[Owned]:
    """What a look at the read model finds: all up to the point, and maybe some of what came since."""

    def shows(event: Owned, reached: dict[TopicPartition, int]) -> bool:
        """It has applied the event, and knows by the answer whose it is."""
        needed = [event.placed, *([event.answer] if event.answer else [])]
        return all(reached.get(placed.partition, 0) >= placed.position for placed in needed)

    return [event for event in log.owned if shows(event, point) or shows(event, more)]


def _stream_order(log: Log) -> list[list[UUID]]:
    """The ids of each stream's events, in its order."""
    by_stream: dict[tuple[object, ...], list[UUID]] = {}
    for event in log.owned:
        by_stream.setdefault((event.placed.partition, event.answer), []).append(event.id)
    return list(by_stream.values())


def _resumed(cursor: CustomerCursor) -> CustomerCursor:
    """The cursor as it comes back from a client."""
    read = CURSORS.read(CURSORS.write(cursor))
    assert isinstance(read, CustomerCursor)
    assert read == cursor
    return read


def _read(log: Log, draw: st.DataObject) -> list[Owned]:
    """Subscribe while the log grows, in pages of any size, going on behind any event."""
    cursor, found = CustomerCursor({}), list[Owned]()
    for number, point in enumerate(log.points):
        ahead = log.points[min(number + draw.draw(st.integers(0, 2)), len(log.points) - 1)]
        looks = 100 if point == log.points[-1] else draw.draw(st.integers(0, 2))
        for _ in range(looks):
            if (step := next_step(_resumed(cursor), point)) is None:
                break
            waiting = due(_applied(log, point, ahead), step)
            taken = waiting[: draw.draw(st.integers(1, 3))]
            found += taken
            cursor = after_event(step, taken[-1]) if taken else after_step(step)
    return found


@settings(max_examples=300, deadline=None)
@given(log=logs(), data=st.data())
def test_each_event_comes_once_and_in_the_order_of_its_stream(log: Log, data: st.DataObject) -> None:
    found = [event.id for event in _read(log, data)]
    assert sorted(found) == sorted(event.id for event in log.owned), "each once, and none left out"
    assert len(set(found)) == len(found)
    sequences = {event.id: n for n, event in enumerate(log.owned)}
    for ids in _stream_order(log):
        order = [sequences[id_] for id_ in found if id_ in set(ids)]
        assert order == sorted(order)


def test_nothing_is_due_while_the_read_model_is_behind_the_cursor() -> None:
    place = TopicPartition("crm.contacts", 0)
    ahead = CustomerCursor(by_topic({place: 7}))
    assert next_step(ahead, {place: 6}) is None, "a generation that is being brought up to date"
    assert next_step(ahead, {place: 7}) is None, "nothing new"
    assert next_step(ahead, {place: 8}) is not None
    elsewhere = TopicPartition("crm.sales", 0)
    assert next_step(ahead, {place: 6, elsewhere: 9}) is None, "what it would miss may belong to what it has"
    begun = next_step(ahead, {place: 8, elsewhere: 9})
    assert begun is not None
    assert next_step(begun, {place: 8, elsewhere: 8}) is None, "it cannot show the rest of the step"


def test_a_step_that_was_begun_is_ended_before_the_next_begins() -> None:
    place = TopicPartition("crm.contacts", 0)
    begun = next_step(CustomerCursor({}), {place: 3})
    assert begun is not None
    assert next_step(begun, {place: 9}) == begun
