"""Reading events, and counting those that an older release wrote."""

from collections.abc import Mapping
from typing import Any

from crm_events.envelope import Recorded, from_document
from crm_events.event import Event
from crm_events.registry import Registry
from crm_platform.metrics import UPCASTS


def read_event(document: Mapping[str, Any], registry: Registry) -> Recorded[Event]:
    """The event of a document, in the form of today's class.

    Raises UnknownEventError for a type not in the registry, UnreadableEventError for anything malformed.
    """
    event = from_document(document, registry)
    if document["type"] != event.data.type_name():
        UPCASTS.labels(event_type=document["type"]).inc()
    return event
