"""Every change of a customer: which event, by whom, why, and what it changed."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_gateway.answers import CauseAnswer, ChangedRecord, FieldChange, HistoryItem
from crm_gateway.projections.campaigns import CampaignRecord
from crm_gateway.projections.totals import CustomerTotals
from crm_gateway.queries.past import customer_events
from crm_gateway.queries.personal import opened
from crm_gateway.view import OpenedBlocks
from crm_platform.folding import to_row
from crm_platform.history import events_of
from crm_platform.past import Change, Step, steps
from crm_platform.projection import Document
from crm_platform.read_model import ReadModel
from crm_platform.sealing import SealedBlock

_NOT_TOLD = (CustomerTotals, CampaignRecord)
"""Totals follow from the other records; a campaign's own facts are nobody's."""
_NOT_FIELDS = ("_id", "version", "identifiers")
"""Identifiers stand in the profile; their blind indexes are for looking up, and are given to nobody."""


async def history_items(
    customers: ReadModel, contact_id: str, after: tuple[datetime, str] | None, limit: int
) -> list[HistoryItem]:
    """The changes of a customer after a position, newest first, at most `limit`. Raises NotFound and TooManyEvents."""
    kept = await customer_events(customers, contact_id)
    kept.sort(key=lambda inbound: _place(inbound.applied_event))
    told = [step for step in map(_told, steps(customers.generation.projection, kept)) if step.changes]
    told.reverse()
    page = [step for step in told if after is None or _position(step.event) < after][:limit]
    blocks = await opened(customers, _blocks(page))
    causes = await _causes(customers, [step.event for step in page])
    return [_item(step, blocks, causes) for step in page]


def _told(step: Step) -> Step:
    return Step(step.event, [change for change in step.changes if change.target.document not in _NOT_TOLD])


def _place(event: Recorded[Event]) -> tuple[datetime, str, int]:
    """In the order in which they were recorded; those of one stream in its order."""
    return event.time, str(event.subject), event.sequence


def _position(event: Recorded[Event]) -> tuple[datetime, str]:
    return event.time, f"{event.subject}/{event.sequence:010}"


def _blocks(page: Iterable[Step]) -> Iterator[SealedBlock]:
    for step in page:
        for change in step.changes:
            for document in (change.before, change.after):
                yield from _sealed_blocks(document)


def _sealed_blocks(document: Document | None) -> Iterator[SealedBlock]:
    if document is not None:
        values = (getattr(document, name) for name in document.__struct_fields__)
        yield from (value for value in values if isinstance(value, SealedBlock))


async def _causes(customers: ReadModel, events: Sequence[Recorded[Event]]) -> dict[str, str]:
    """The types of the events among the causes, by their ids."""
    ids = {id_ for event in events if (id_ := _uuid_or_none(event.causation)) is not None}
    found = events_of(await customers.history.events(list(ids)))
    return {str(event.id): event.data.type_name() for event in found}


def _uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _item(step: Step, blocks: OpenedBlocks, causes: dict[str, str]) -> HistoryItem:
    event = step.event
    cause: CauseAnswer = {"id": event.causation, "type": causes.get(event.causation)}
    return {
        "id": str(event.id),
        "type": event.data.type_name(),
        "recorded_at": event.time,
        "occurred_at": event.data.occurred_at,
        "actor": event.actor,
        "cause": cause,
        "correlation": event.correlation,
        "stream": str(event.subject),
        "sequence": event.sequence,
        "changed": [_changed(change, blocks) for change in step.changes],
    }


def _changed(change: Change, blocks: OpenedBlocks) -> ChangedRecord:
    before, after = _fields(change.before, blocks), _fields(change.after, blocks)
    fields: list[FieldChange] = [
        {"field": name, "before": before.get(name), "after": after.get(name)}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    return {"record": change.target.document.collection, "id": change.target.id, "fields": fields}


def _fields(document: Document | None, blocks: OpenedBlocks) -> dict[str, Any]:
    """The record's fields; of a personal block its members, as `profile.name`. None stands for absent or erased."""
    if document is None:
        return {}
    fields: dict[str, Any] = {}
    for name, value in to_row(document).items():
        block = getattr(document, name, None)
        if isinstance(block, SealedBlock):
            fields |= {f"{name}.{member}": inner for member, inner in (blocks.of(block) or {}).items()}
        elif name not in _NOT_FIELDS:
            fields[name] = value
    return fields


def position_of(item: HistoryItem) -> tuple[datetime, str]:
    """Where a page that ends with this item ends."""
    return item["recorded_at"], f"{item['stream']}/{item['sequence']:010}"
