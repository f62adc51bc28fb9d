"""A history of many interactions, as contacts stores it: the rows of its event store."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson
from eventsourcing.persistence import StoredEvent

from crm_events.adapter import Channel, Direction
from crm_events.contacts import ContactRegistered, InteractionContent, InteractionLogged
from crm_events.envelope import Recorded, event_id, to_document
from crm_events.event import Event
from crm_events.parties import Party, Profile
from crm_platform.sealing import SubjectKey

EACH = 500
"""Interactions of one contact."""


def rows(contacts: int) -> Iterator[StoredEvent]:
    """Each contact, and then its interactions, a stream each. What is sealed in them is the first one's."""
    contact, key, now = uuid4(), SubjectKey.generate(), datetime.now(UTC)
    profile = Profile(name="Ada Byron")
    party = Party(email="ada@example.org", name="Ada Byron")

    def stored(stream: UUID, event: Event) -> StoredEvent:
        id_ = event_id(stream, 1)
        assert event.personal is not None  # noqa: S101 - both kinds have a block
        event = event.with_personal(key.seal(event.personal, event=id_, subject=contact))
        recorded = Recorded(id_, "/crm/contacts", stream, 1, now, "bench", "story", "cause", event)
        return StoredEvent(stream, 1, event.type_name(), orjson.dumps(to_document(recorded)))

    registered = stored(contact, ContactRegistered(source="bench", profile=profile, occurred_at=now))
    content = InteractionContent(external_id="1", party=party, subject="Hello", body="again and " * 10)
    logged = stored(
        uuid4(),
        InteractionLogged(
            contact_id=contact,
            source="/adapters/bench",
            channel=Channel.EMAIL,
            direction=Direction.INBOUND,
            content=content,
            occurred_at=now,
        ),
    )
    for _ in range(contacts):
        person = uuid4()
        yield _again(registered, contact, person, person)
        for _ in range(EACH):
            yield _again(logged, contact, person, uuid4())


def _again(template: StoredEvent, contact: UUID, person: UUID, stream: UUID) -> StoredEvent:
    """The same event of another person, in a stream of its own."""
    known, own = UUID(str(template.originator_id)), event_id(stream, 1)
    state = (
        template.state.replace(str(event_id(known, 1)).encode(), str(own).encode())
        .replace(str(known).encode(), str(stream).encode())
        .replace(str(contact).encode(), str(person).encode())
    )
    return StoredEvent(stream, 1, template.topic, state)
