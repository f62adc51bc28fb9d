"""F25, F27: a reader meets events of a later release, and events whose results no store takes; then it is mended."""

from typing import Final

import pytest
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record, publish
from libs.platform.tests.purchases import PurchaseRow, Purchases, noted, purchases_of
from libs.platform.tests.shop import EVENTS, PurchaseNoted, ShopEvent
from libs.platform.tests.waiting import eventually, running

from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_events.registry import Registry
from crm_events.topics import Topic
from crm_platform import mongo
from crm_platform.generations import Generation
from crm_platform.parking import Retried
from crm_platform.projection import Projection, fold
from crm_platform.projection_parking import ProjectionParking
from crm_platform.projector import Projector
from crm_platform.testing import SOME_TIME, recorded, story_id
from crm_platform.wakeup import Wakeup

CHANGED, CALM = story_id("changed"), story_id("calm")
HUGE: Final = "x" * 600_000
"""Two such notes make a document that is too large to be kept; each alone goes into a record."""


def _later(name: str, version: int) -> type[ShopEvent]:
    """An event type as only a later release has it."""

    class Later(ShopEvent):
        words: tuple[str, ...] = ()

    Later.__name__ = name
    Later.version = version
    return Later


NOTED_AGAIN: Final = _later("PurchaseNoted", 2)
CLONED: Final = _later("PurchaseCloned", 1)


class Later(Purchases):
    """The read model of the later release."""

    name = "purchases"

    @fold(NOTED_AGAIN, PurchaseRow)
    def noted_again(self, row: PurchaseRow | None, event: Recorded[ShopEvent]) -> PurchaseRow:
        notes = row.notes if row else ()
        words: tuple[str, ...] = getattr(event.data, "words", ())
        return PurchaseRow(id=str(event.subject), version=event.sequence, notes=(*notes, " ".join(words)))


def _event(kind: type[Event], sequence: int, **members: object) -> Recorded[Event]:
    return recorded(kind.model_validate({"occurred_at": SOME_TIME, **members}), subject=CHANGED, sequence=sequence)


def _deployed(topic: Topic) -> Projection:
    projection: Projection = type("OwnLater", (Later,), {"name": f"purchases.{topic.name}", "topics": (topic,)})()
    return projection


@pytest.mark.row("F25", "a later version and a new type; then the release is deployed", "I3 I4 I8, in order")
async def test_once_the_later_release_is_deployed_what_waited_is_read_in_order(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    old, new = purchases_of(topic), _deployed(topic)
    everything = Registry([*EVENTS, NOTED_AGAIN, CLONED])
    events = [
        noted(CHANGED, 1, "first"),
        _event(CLONED, 2),
        _event(NOTED_AGAIN, 3, words=("second", "version")),
        noted(CHANGED, 4, "fourth"),
        noted(CALM, 1, "calm"),
    ]
    await publish(bootstrap, [as_record(topic, 0, event, (n + 1, n)) for n, event in enumerate(events)])

    async def notes(stream: object) -> list[str]:
        row = await database[Generation(old).collection_name(PurchaseRow)].find_one({"_id": str(stream)})
        return list(row["notes"]) if row else []

    async def has(stream: object, expected: list[str]) -> bool:
        return await notes(stream) == expected

    applied = Wakeup()
    async with running(Projector(old, EVENTS, database, AUTHENTICATOR, bootstrap, "0", applied).run):
        await eventually(lambda: has(CALM, ["calm"]))
        assert await notes(CHANGED) == ["first"]
        stuck = await ProjectionParking(old, EVENTS, database, AUTHENTICATOR, applied).retry(topic.name, str(CHANGED))
        assert (stuck.applied, stuck.remaining) == (0, 2)
        assert "is a version that this release cannot read" in str(stuck.reason)
    async with running(Projector(new, everything, database, AUTHENTICATOR, bootstrap, "0", applied).run):
        lot = ProjectionParking(new, everything, database, AUTHENTICATOR, applied)
        assert await lot.retry(topic.name, str(CHANGED)) == Retried(applied=2, remaining=0, reason=None)
        await publish(bootstrap, [as_record(topic, 0, noted(CHANGED, 5, "fifth"), (6, 5))])
        await eventually(lambda: has(CHANGED, ["first", "second version", "fourth", "fifth"]))
    assert await lot.keys() == []


@pytest.mark.row("F27", "a document that grows beyond what is kept", "I3 I8, found and parked, others flow")
async def test_an_event_that_makes_a_document_too_large_parks_its_key_alone(
    database: mongo.Database, topic: Topic, bootstrap: str
) -> None:
    projection, applied = purchases_of(topic), Wakeup()
    events: list[Recorded[PurchaseNoted]] = []
    for n in range(1, 4):
        events += [noted(story_id(f"other {n} {m}"), 1) for m in range(20)]
        events.append(noted(CHANGED, n, HUGE))
    events.append(noted(CALM, 1, "calm"))
    await publish(bootstrap, [as_record(topic, 0, event, (n + 1, n)) for n, event in enumerate(events)])
    rows = database[Generation(projection).collection_name(PurchaseRow)]

    async def all_others_are_there() -> bool:
        return await rows.count_documents({}) == 3 * 20 + 2

    async with running(Projector(projection, EVENTS, database, AUTHENTICATOR, bootstrap, "0", applied).run):
        await eventually(all_others_are_there)
    (key,) = await ProjectionParking(projection, EVENTS, database, AUTHENTICATOR, applied).keys()
    assert (key.first.key, key.events, key.first.position) == (str(CHANGED), 2, 42)
    assert (await rows.find_one({"_id": str(CHANGED)}) or {})["notes"] == [HUGE]
