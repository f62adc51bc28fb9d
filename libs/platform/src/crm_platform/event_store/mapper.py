"""From a recorded event to the row that holds it, and back: the row's state is the published bytes (docs/adr/0002)."""

from typing import Any
from uuid import UUID

import orjson
from eventsourcing.persistence import Mapper, StoredEvent, Transcoder

from crm_events.envelope import Recorded, to_document
from crm_events.event import Event
from crm_events.registry import Registry
from crm_platform.event_chain.links import link_to
from crm_platform.upcasts import read_event

PRIVATE = "private:"
"""In front of a row's topic: bookkeeping of the service, never published."""


class CloudEventsMapper(Mapper[UUID]):
    """Writes events as CloudEvents documents. Personal blocks must be sealed by then."""

    def __init__(self, transcoder: Transcoder, registry: Registry) -> None:
        super().__init__(transcoder)
        self._registry = registry

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        return self.written(domain_event, None)

    def written(self, recorded: Recorded[Event], previous: bytes | None) -> StoredEvent:
        """The event's row, linked to the stored bytes of the event before it in its stream, if there is one."""
        type_name = recorded.data.type_name()
        return StoredEvent(
            originator_id=recorded.subject,
            originator_version=recorded.sequence,
            topic=type_name if recorded.data.public else PRIVATE + type_name,
            state=orjson.dumps(to_document(recorded, link_to(previous) if previous else None)),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        return self.read(stored_event.state)

    def read(self, state: bytes) -> Recorded[Event]:
        """Raises UnknownEventError or UnreadableEventError: a store must be able to read all that it holds."""
        return read_event(orjson.loads(state), self._registry)
