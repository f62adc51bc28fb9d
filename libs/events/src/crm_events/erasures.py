"""The conversation of an erasure, on crm.erasures: what contacts orders, and what every service answers.

Each record is authenticated, and none has a place in a chain: several services write here, and a repeat changes nothing
(docs/adr/0020).
"""

from enum import StrEnum
from typing import ClassVar
from uuid import UUID, uuid5

from crm_events.event import Event

_NAMESPACE = UUID("5e0f5b5c-0a44-5a0b-8d7a-2f7d4a1c9b60")

MAX_SUBJECTS = 5_000
"""Of one record: it stays under what every door takes."""


class ErasureStep(StrEnum):
    """What every service does about an erasure, in this order.

    `destroy`: the keys of the person's data that it owns are destroyed and marked as such on crm.keys, and its read
    models and reactions have taken in all that was said before. `forget`: its keyring holds none of those keys.
    """

    DESTROY = "destroy"
    FORGET = "forget"


class ErasureRecord(Event):
    """A record about the erasure of one contact; its subject is the contact."""

    context: ClassVar[str] = "erasures"

    contact_id: UUID


class SubjectsErased(ErasureRecord):
    """These data subjects are the erased contact under other names: whoever owns a key of one destroys it."""

    subjects: tuple[UUID, ...]


class ErasureStepOrdered(ErasureRecord):
    """Every service is to take this step, and to say so. All `SubjectsErased` of the contact stand before it."""

    step: ErasureStep


class ErasureStepTaken(ErasureRecord):
    """The service has taken the step."""

    service: str
    step: ErasureStep


def erasure_record_id(record: ErasureRecord) -> UUID:
    """The same however often it is written."""
    return uuid5(_NAMESPACE, record.model_dump_json(exclude={"occurred_at"}))
