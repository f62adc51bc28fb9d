"""Which steps of erasures a service was ordered to take, and which it has taken: every service has this read model."""

from typing import ClassVar

import msgspec

from crm_events.envelope import Recorded
from crm_events.erasures import ErasureStep, ErasureStepOrdered, ErasureStepTaken
from crm_events.topics import ERASURES, Topic
from crm_platform.projection import Document, Index, Projection, fold

STEPS = tuple(ErasureStep)


class OrderedErasure(Document, frozen=True, kw_only=True):
    """The erasure of the contact with that id: the last step ordered, the last one that this service has taken.

    `cause` and `story` are those of the order.

    Orders may be repeated, and a step that was ordered is never taken back.
    """

    collection: ClassVar[str] = "ordered_erasures"
    indexes: ClassVar[tuple[Index, ...]] = (Index("open"),)

    cause: str = ""
    story: str = ""
    ordered: str | None = None
    taken: str | None = None
    open: bool = False

    def has_order(self, step: ErasureStep) -> bool:
        return _number(self.ordered) >= _number(step)

    def due(self) -> tuple[ErasureStep, ...]:
        """The steps that are ordered and not taken yet, in order."""
        return STEPS[_number(self.taken) : _number(self.ordered)]


class OrderedErasures(Projection):
    """Named after the service that it belongs to, for each service has its own."""

    version = 1
    topics: ClassVar[tuple[Topic, ...]] = (ERASURES,)

    def __init__(self, service: str) -> None:
        self.name = f"{service}.ordered-erasures"
        self._service = service

    @fold(ErasureStepOrdered, OrderedErasure)
    def ordered(self, row: OrderedErasure | None, event: Recorded[ErasureStepOrdered]) -> OrderedErasure:
        row = row or OrderedErasure(id=str(event.subject))
        ordered = _later(row.ordered, event.data.step)
        return _settled(msgspec.structs.replace(row, ordered=ordered, cause=event.causation, story=event.correlation))

    @fold(ErasureStepTaken, OrderedErasure)
    def taken(self, row: OrderedErasure | None, event: Recorded[ErasureStepTaken]) -> OrderedErasure:
        row = row or OrderedErasure(id=str(event.subject))
        if event.data.service != self._service:
            return row
        return _settled(msgspec.structs.replace(row, taken=_later(row.taken, event.data.step)))


def _number(step: str | None) -> int:
    """How many steps are done once this one is."""
    return 0 if step is None else STEPS.index(ErasureStep(step)) + 1


def _later(before: str | None, step: ErasureStep) -> str:
    return step.value if _number(step) > _number(before) else str(before)


def _settled(row: OrderedErasure) -> OrderedErasure:
    return msgspec.structs.replace(row, open=bool(row.due()))
