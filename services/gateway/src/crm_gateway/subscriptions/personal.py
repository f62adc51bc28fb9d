"""Personal blocks in the events that are given: sealed as they were published, or opened at the edge."""

from collections.abc import Sequence
from uuid import UUID

import orjson
from pydantic import ValidationError

from crm_events import REGISTRY
from crm_events.event import Sealed
from crm_gateway.subscriptions.given import Given
from crm_platform.read_model import ReadModel
from crm_platform.sealing import SealedBlock


async def opened(customers: ReadModel, events: Sequence[Given]) -> list[Given]:
    """The events with their blocks in the clear. What is erased stays as it is: sealed, for ever.

    Raises Unavailable where it cannot be told now whether a key is late or erased.
    """
    documents = [orjson.loads(event.document) for event in events]
    fields = [_personal_field(event.type_name) for event in events]
    blocks = [_block(document, field) for document, field in zip(documents, fields, strict=True)]
    await customers.have_keys({UUID(block.key) for block in blocks if block is not None})
    clear = await customers.open_all_json(blocks)
    given = []
    for event, document, field, json in zip(events, documents, fields, clear, strict=True):
        if field is None or json is None:
            given.append(event)
            continue
        document["data"][field] = orjson.loads(json)
        given.append(event._replace(document=orjson.dumps(document)))
    return given


def _personal_field(type_name: str) -> str | None:
    """The block has the same name in every version of an event (docs/adr/0014)."""
    event = REGISTRY.find(type_name)
    return None if event is None else event.personal_field


def _block(document: dict[str, object], field: str | None) -> SealedBlock | None:
    data = document["data"]
    member = data.get(field) if field and isinstance(data, dict) else None
    if member is None:
        return None
    try:
        return SealedBlock.of(Sealed.model_validate(member))
    except ValidationError:
        return None
