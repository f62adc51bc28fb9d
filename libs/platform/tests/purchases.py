"""A read model of the shop: one row per purchase, and the number of purchases of each partition."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from libs.platform.tests.shop import PurchaseCounted, PurchaseNoted

from crm_events.envelope import Recorded
from crm_events.topics import Topic
from crm_platform.projection import Document, Index, Place, Projection, fold
from crm_platform.testing import SOME_TIME, recorded

POISON = "poison"
POISON_KEY = "poison key"


class PurchaseRow(Document, frozen=True, kw_only=True):
    collection: ClassVar[str] = "purchases"
    indexes: ClassVar[tuple[Index, ...]] = (Index("-noted_at"),)
    notes: tuple[str, ...] = ()
    kind: str = ""
    noted_at: datetime = SOME_TIME


class TotalRow(Document, frozen=True, kw_only=True):
    collection: ClassVar[str] = "totals"
    count: int = 0


def _total(event: Recorded[PurchaseNoted], place: Place) -> str:
    if event.data.text == POISON_KEY:
        raise KeyError(event.data.text)
    return f"{place.topic}/{place.partition}"


class Purchases(Projection):
    name = "purchases"
    version: ClassVar[int] = 1

    @fold(PurchaseNoted, PurchaseRow)
    def noted(self, row: PurchaseRow | None, event: Recorded[PurchaseNoted]) -> PurchaseRow:
        notes = row.notes if row else ()
        return PurchaseRow(id=str(event.subject), version=event.sequence, notes=(*notes, event.data.text))

    @fold(PurchaseNoted, TotalRow, key=_total)
    def counted(self, row: TotalRow | None, event: Recorded[PurchaseNoted]) -> TotalRow:
        if event.data.text == POISON:
            raise ValueError(event.data.text)
        return TotalRow(id="", count=(row.count if row else 0) + 1)


def purchases_of(*topics: Topic, **members: Any) -> Projection:
    """The read model of these topics, under a name of its own."""
    identity = {"name": f"purchases.{topics[0].name}", "topics": topics, **members}
    projection: Projection = type("OwnPurchases", (Purchases,), identity)()
    return projection


def noted(subject: UUID, sequence: int, text: str = "") -> Recorded[PurchaseNoted]:
    return recorded(
        PurchaseNoted(occurred_at=SOME_TIME, text=text or str(sequence)), subject=subject, sequence=sequence
    )


def counted(subject: UUID, sequence: int) -> Recorded[PurchaseCounted]:
    """An event that the read model does not handle."""
    return recorded(PurchaseCounted(occurred_at=SOME_TIME, count=1), subject=subject, sequence=sequence)
