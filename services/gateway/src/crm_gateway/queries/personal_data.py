"""Everything that the platform holds about one person, for that person (GDPR, articles 15 and 20)."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from crm_events.envelope import Recorded
from crm_events.event import Event, Sealed
from crm_gateway.answers import ExportedEvent, HeldBy, PersonalData
from crm_gateway.blind_indexes import without_blind_indexes
from crm_gateway.queries.past import customer_events
from crm_gateway.queries.personal import opened
from crm_gateway.view import OpenedBlocks
from crm_platform.history import events_of
from crm_platform.inbound import Inbound
from crm_platform.read_model import ReadModel
from crm_platform.sealing import SealedBlock

CONTEXTS = ("contacts", "sales", "service", "marketing")
"""The services that keep facts about people."""
NO_FACTS = {
    "analytics": "It keeps counts and sums by source, campaign and time. Nothing in them belongs to a person.",
    "gateway": "It keeps copies of the events above, which the customer view is made of, and nothing else.",
}


async def personal_data(customers: ReadModel, contact_id: str) -> PersonalData:
    """Every fact about a contact, as each service recorded it, with what is sealed in it in the clear.

    Raises NotFound, TooManyEvents, and Unavailable where a key may only be late: an export is whole or none.
    """
    kept = await customer_events(customers, contact_id)
    await customers.have_keys({block.key for block in _sealed(kept)})
    blocks = await opened(customers, _blocks(kept))
    by_context = defaultdict[str, list[ExportedEvent]](list)
    for inbound, event in zip(kept, events_of(kept), strict=True):
        by_context[event.data.context].append(_exported(inbound, event, blocks))
    services: dict[str, HeldBy] = {name: _held(by_context[name]) for name in CONTEXTS}
    services |= {name: {"holds": holds, "events": []} for name, holds in NO_FACTS.items()}
    return {"contact_id": contact_id, "exported_at": datetime.now(UTC), "services": services}


def _held(events: list[ExportedEvent]) -> HeldBy:
    if not events:
        return {"holds": "Nothing about this person.", "events": []}
    return {
        "holds": "The facts below.",
        "events": sorted(events, key=lambda event: (event["recorded_at"], event["id"])),
    }


def _sealed(kept: Sequence[Inbound]) -> Iterator[Sealed]:
    for event in events_of(kept):
        if isinstance(event.data.personal, Sealed):
            yield event.data.personal


def _blocks(kept: Sequence[Inbound]) -> Iterator[SealedBlock]:
    for block in _sealed(kept):
        sealed = SealedBlock.of(block)
        assert sealed is not None  # noqa: S101 - of a block there is one
        yield sealed


def _exported(inbound: Inbound, event: Recorded[Event], blocks: OpenedBlocks) -> ExportedEvent:
    document = without_blind_indexes(event.data.type_name(), inbound.record.value)
    data: dict[str, Any] = orjson.loads(document)["data"]
    block, erased = event.data.personal, False
    if isinstance(block, Sealed):
        clear = blocks.of(SealedBlock.of(block))
        data[event.data.personal_field or ""] = clear
        erased = clear is None
    return {
        "id": str(event.id),
        "type": event.data.type_name(),
        "stream": str(event.subject),
        "recorded_at": event.time,
        "occurred_at": event.data.occurred_at,
        "erased": erased,
        "data": data,
    }
