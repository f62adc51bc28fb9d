"""A later version waits at the reader of an older release, and goes through once the newer release is deployed."""

from typing import Any, ClassVar
from uuid import uuid4

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from libs.events.tests.later_releases import V1, V3
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record

from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_events.registry import Registry
from crm_events.topics import Topic
from crm_platform import mongo
from crm_platform.cursor import Cursor
from crm_platform.delivery import Standing
from crm_platform.generations import Generation
from crm_platform.parking import Retried
from crm_platform.projection import Document, Projection, fold
from crm_platform.projection_parking import ProjectionParking
from crm_platform.projector import Projector
from crm_platform.testing import SOME_TIME, recorded, story_id
from crm_platform.wakeup import Wakeup

pytestmark = pytest.mark.integration

TOPIC = Topic("t.vouchers", partitions=1)
PLACE = TopicPartition(TOPIC.name, 0)
UPGRADED, CALM = story_id("upgraded"), story_id("calm")


class VoucherRow(Document, frozen=True, kw_only=True):
    collection: ClassVar[str] = "vouchers"
    hundredths: tuple[int, ...] = ()


class OldVouchers(Projection):
    """The read model as the first release has it."""

    name, version, topics = "vouchers", 1, (TOPIC,)

    @fold(V1, VoucherRow)
    def sold(self, row: VoucherRow | None, event: Recorded[V1]) -> VoucherRow:
        return _with(row, event, event.data.amount * 100)


class NewVouchers(Projection):
    """The same read model in the third release: it knows of today's class alone."""

    name, version, topics = "vouchers", 1, (TOPIC,)

    @fold(V3, VoucherRow)
    def sold(self, row: VoucherRow | None, event: Recorded[V3]) -> VoucherRow:
        return _with(row, event, event.data.amount)


def _with(row: VoucherRow | None, event: Recorded[Any], hundredths: int) -> VoucherRow:
    before = row.hundredths if row else ()
    return VoucherRow(id=str(event.subject), version=event.sequence, hundredths=(*before, hundredths))


class Release:
    """A process of one release, given records as Kafka would give them."""

    def __init__(self, projection: Projection, event: type[Event], database: mongo.Database) -> None:
        registry, applied = Registry([event]), Wakeup()
        self._projector = Projector(projection, registry, database, AUTHENTICATOR, "", uuid4().hex, applied)
        self._rows = database[Generation(projection).collection_name(VoucherRow)]
        self.lot = ProjectionParking(projection, registry, database, AUTHENTICATOR, applied)

    async def read(self, *records: ConsumerRecord) -> None:
        """From where the release before has left off."""
        await self._projector.prepare()
        stored = await self._projector.standing([PLACE])
        standing = Standing({PLACE: Cursor()} | stored.cursors, stored.parked)
        await self._projector.apply(records, standing)

    async def hundredths(self, voucher: object) -> list[int]:
        row = await self._rows.find_one({"_id": str(voucher)})
        return list(row["hundredths"]) if row else []


def _first(amount: int, sequence: int, subject: Any = UPGRADED) -> Recorded[Event]:
    return recorded(V1(occurred_at=SOME_TIME, name="Ada", amount=amount), subject=subject, sequence=sequence)


def _third(hundredths: int, sequence: int) -> Recorded[Event]:
    event = V3(occurred_at=SOME_TIME, holder="Ada", amount=hundredths, paid_by="card")
    return recorded(event, subject=UPGRADED, sequence=sequence)


async def test_a_later_version_waits_in_order_and_goes_through_after_the_upgrade(database: mongo.Database) -> None:
    old, new = Release(OldVouchers(), V1, database), Release(NewVouchers(), V3, database)
    events = [_first(1, 1), _third(250, 2), _first(3, 3), _first(9, 1, CALM), _third(475, 4)]
    records = [as_record(TOPIC, n, event, (n + 1, n)) for n, event in enumerate(events)]

    await old.read(*records[:4])

    assert await old.hundredths(UPGRADED) == [100]
    assert await old.hundredths(CALM) == [900], "other keys flow"
    (parked,) = await old.lot.keys()
    assert (parked.first.key, parked.events) == (str(UPGRADED), 2)
    assert parked.first.reason == f"{V3.type_name()} is a version that this release cannot read"
    assert (await old.lot.retry(TOPIC.name, str(UPGRADED))).applied == 0

    await new.read(records[4])
    assert await new.hundredths(UPGRADED) == [100], "what comes after it waits behind it, after the upgrade too"

    assert await new.lot.retry(TOPIC.name, str(UPGRADED)) == Retried(applied=3, remaining=0, reason=None)
    assert await new.hundredths(UPGRADED) == [100, 250, 300, 475]
    assert await new.lot.keys() == []
