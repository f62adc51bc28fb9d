"""Folding a batch into documents, in memory: the heart of a read model, live, retried, rebuilt or simulated alike."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_platform.inbound import Inbound
from crm_platform.projection import Document, Fold, Place, Projection

Row = Mapping[str, Any]


class Target(NamedTuple):
    """A document that an event changes."""

    document: type[Document]
    id: str


Rows = Mapping[Target, Row]
Documents = dict[Target, Document]
_Folds = Sequence[tuple[Fold, Target]]


def to_row(document: Document) -> dict[str, Any]:
    """A document as MongoDB keeps it."""
    row: dict[str, Any] = msgspec.to_builtins(document, builtin_types=(datetime,))
    row["_id"] = row.pop("id")
    return row


def from_row(row: Row, kind: type[Document]) -> Document:
    """A document as it was kept; raises msgspec.ValidationError if it is not of that kind."""
    return msgspec.convert({**row, "id": row["_id"]}, kind)


class Folding:
    """One batch on its way into the documents of a read model."""

    def __init__(self, projection: Projection, inbounds: Sequence[Inbound]) -> None:
        self._projection = projection
        self.inbounds = inbounds
        self._folds: dict[int, _Folds | Exception] = {}
        self._stored: Rows = {}
        self._known: Documents = {}
        self.changed: Documents = {}
        self.applied: list[Inbound] = []

    def targets(self) -> set[Target]:
        """Every document that the batch may change."""
        for inbound in self.inbounds:
            if inbound.event is not None:
                self._folds[id(inbound)] = self._folds_of(inbound, inbound.event)
        return {target for folds in self._folds.values() if not isinstance(folds, Exception) for _, target in folds}

    def targets_of(self, inbound: Inbound) -> list[Target]:
        """The documents that one event of the batch may change, once `targets` was asked."""
        folds = self._folds[id(inbound)]
        return [] if isinstance(folds, Exception) else [target for _, target in folds]

    def use(self, stored: Rows) -> None:
        """The documents as they are stored, which the batch is folded into."""
        self._stored = stored

    def is_stored(self, target: Target) -> bool:
        return target in self._stored

    def _folds_of(self, inbound: Inbound, event: Recorded[Event]) -> _Folds | Exception:
        place = Place(inbound.record.topic, inbound.record.partition)
        try:
            return [
                (fold, Target(fold.document, fold.key(event, place)))
                for fold in self._projection.folds.get(type(event.data), ())
            ]
        except Exception as failure:  # noqa: BLE001 - a key that cannot be told parks the event's key, as a fold does
            return failure

    def effect(self, inbound: Inbound, event: Recorded[Event]) -> None:
        """What the event makes of its documents, all or nothing.

        `changed` then holds what is to be written, and `applied` the event.
        """
        folds = self._folds[id(inbound)]
        if isinstance(folds, Exception):
            raise folds
        changed: Documents = {}
        for fold, target in folds:
            before = changed.get(target) or self.changed.get(target) or self._as_stored(target)
            after = self._projection.apply(fold, before, event)
            if after is not before:
                changed[target] = after
        self.changed.update(changed)
        self.applied.append(inbound)

    def _as_stored(self, target: Target) -> Document | None:
        known = self._known.get(target)
        if known is None and target in self._stored:
            known = self._known[target] = from_row(self._stored[target], target.document)
        return known


def rows_of(documents: Iterable[tuple[Target, Document]]) -> dict[Target, dict[str, Any]]:
    """The documents as they are kept: under the id that their fold's key gave, whatever their own says."""
    return {target: {**to_row(document), "_id": target.id} for target, document in documents}
