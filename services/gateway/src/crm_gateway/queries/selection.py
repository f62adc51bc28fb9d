"""Records of several kinds, chosen at once: from the live read model in one round trip, or from documents at hand."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from crm_platform.folding import Documents
from crm_platform.projection import Document
from crm_platform.read_model import ReadModel

D = TypeVar("D", bound=Document)


class TimelinePosition(NamedTuple):
    """Where a page of a timeline ended; the next one begins after it. The instant is UTC, without a time zone."""

    occurred_at: datetime
    id: str


class Wanted(NamedTuple):
    """Records of one kind whose field has one of the values.

    With `newest_by` the newest so many by that field, ties by id; `before` leaves out what stands at that position of a
    timeline or above it.
    """

    kind: type[Document]
    field: str
    values: Sequence[str]
    newest_by: str | None = None
    limit: int = 0
    before: TimelinePosition | None = None


class Found:
    """Records of several kinds, each kind in the order in which it was asked for. Instants have no time zone: UTC."""

    def __init__(self, by_kind: Mapping[type[Document], Sequence[Document]]) -> None:
        self._by_kind = by_kind

    @property
    def empty(self) -> bool:
        return not any(self._by_kind.values())

    def of(self, kind: type[D]) -> list[D]:
        return list(self._by_kind.get(kind, ()))  # type: ignore[arg-type] # they are of that kind


class Records(Protocol):
    """Where a customer's records are chosen from."""

    async def select(self, *wanted: Wanted) -> Found:
        """What is asked for without any value is not there."""
        ...


class LiveRecords:
    """The records as they are now."""

    def __init__(self, customers: ReadModel) -> None:
        self._customers = customers

    async def select(self, *wanted: Wanted) -> Found:
        asked = [each for each in wanted if each.values]
        if not asked:
            return Found({})
        first, *others = asked
        unions = [
            {"$unionWith": {"coll": self._customers.collection_name(each.kind), "pipeline": _pipeline(each)}}
            for each in others
        ]
        rows = defaultdict[str, list[dict[str, Any]]](list)
        for row in await self._customers.aggregate(first.kind, [*_pipeline(first), *unions]):
            row["id"] = row["_id"]
            rows[row[_KIND]].append(row)
        return Found({each.kind: _typed(rows[each.kind.collection], each.kind) for each in asked})


def _typed(rows: list[dict[str, Any]], kind: type[Document]) -> list[Document]:
    return msgspec.convert(rows, list[kind]) if rows else []  # type: ignore[valid-type] # read by msgspec


_KIND = "_kind"


def _pipeline(wanted: Wanted) -> list[dict[str, Any]]:
    values = wanted.values
    where: dict[str, Any] = {wanted.field: values[0] if len(values) == 1 else {"$in": list(values)}}
    if wanted.before:
        where |= _further_down(wanted.before)
    pipeline: list[dict[str, Any]] = [{"$match": where}]
    if wanted.newest_by:
        pipeline += [{"$sort": {wanted.newest_by: -1, "_id": -1}}, {"$limit": wanted.limit}]
    return [*pipeline, {"$set": {_KIND: wanted.kind.collection}}]


def _further_down(position: TimelinePosition) -> dict[str, Any]:
    """What stands further down the timeline; the plain bound lets the index begin at the right place."""
    return {
        "occurred_at": {"$lte": position.occurred_at},
        "$or": [{"occurred_at": {"$lt": position.occurred_at}}, {"_id": {"$lt": position.id}}],
    }


class FoldedRecords:
    """Records that were folded in memory, chosen as the live ones are."""

    def __init__(self, documents: Documents) -> None:
        self._by_kind = defaultdict[type[Document], list[Document]](list)
        for target, document in documents.items():
            self._by_kind[target.document].append(_as_stored(document, target.id))

    async def select(self, *wanted: Wanted) -> Found:
        return Found({each.kind: _chosen(self._by_kind[each.kind], each) for each in wanted})


def _as_stored(document: Document, id_: str) -> Document:
    """Under the id of its fold's key, and with instants as the live read model gives them."""
    instants = {
        name: value.replace(tzinfo=None)
        for name in document.__struct_fields__
        if isinstance(value := getattr(document, name), datetime)
    }
    return msgspec.structs.replace(document, id=id_, **instants)


def _chosen(documents: Iterable[Document], wanted: Wanted) -> list[Document]:
    field, values, before = wanted.field.removeprefix("_"), set(wanted.values), wanted.before
    found = [document for document in documents if getattr(document, field) in values]
    if before:
        found = [document for document in found if _place(document, "occurred_at") < before]
    if wanted.newest_by:
        by = wanted.newest_by
        found = sorted(found, key=lambda document: _place(document, by), reverse=True)[: wanted.limit]
    return found


def _place(document: Document, newest_by: str) -> tuple[datetime, str]:
    return getattr(document, newest_by), document.id
