"""A history of many tickets, as the service desk stores it: the rows of an event store, and the topic relayed from it.

One ticket's events are written by the platform's own mapper and sealing; every further ticket repeats them under ids of
its own. So a million events are made in seconds, and each is a real one but for what is sealed in it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
from eventsourcing.persistence import StoredEvent

from benchmarks import parts
from crm_events.adapter import Channel
from crm_events.envelope import Recorded, event_id
from crm_events.event import Event
from crm_events.parties import Note, Party
from crm_events.service import (
    Priority,
    TicketAssigned,
    TicketLinked,
    TicketOpened,
    TicketReopened,
    TicketRequest,
    TicketResolved,
)
from crm_events.topics import Topic
from crm_platform.event_store.application import EventStore
from crm_platform.metrics import EVENTS_PUBLISHED
from crm_platform.sealing import SubjectKey

EVENTS_EACH = 6
_POLL = 0.005


def ticket_events(words: int) -> list[Event]:
    """What happens to a ticket whose request has so many words."""
    now = datetime.now(UTC)
    party = Party(email="ada@example.org", name="Ada Byron")
    request = TicketRequest(party=party, subject="It does not work", body="again and " * words)
    opened = TicketOpened(channel=Channel.EMAIL, priority=Priority.NORMAL, request=request, occurred_at=now)
    resolved = TicketResolved(opened_at=now, note=Note(text="Sent a new one."), occurred_at=now)
    return [
        opened,
        TicketLinked(contact_id=uuid4(), occurred_at=now),
        TicketAssigned(agent="grace", occurred_at=now),
        resolved,
        TicketReopened(opened_at=now, resolved_at=now, occurred_at=now),
        resolved,
    ]


class TicketHistory:
    """The rows of so many tickets, one ticket after another."""

    def __init__(self, store: EventStore, words: int) -> None:
        self._stream = uuid4()
        self._template = [store.write(r) for r in _recorded(self._stream, ticket_events(words))]

    def rows(self, tickets: int) -> Iterator[StoredEvent]:
        for _ in range(tickets):
            yield from self._of(uuid4())

    def _of(self, stream: UUID) -> Iterator[StoredEvent]:
        before, after = str(self._stream).encode(), str(stream).encode()
        for row in self._template:
            sequence = row.originator_version
            known, own = event_id(self._stream, sequence), event_id(stream, sequence)
            state = row.state.replace(before, after).replace(str(known).encode(), str(own).encode())
            yield StoredEvent(stream, sequence, row.topic, state)


def _recorded(stream: UUID, events: Sequence[Event]) -> Iterator[Recorded[Event]]:
    """The events in their envelopes, their personal blocks sealed."""
    key = SubjectKey.generate()
    for sequence, event in enumerate(events, 1):
        id_ = event_id(stream, sequence)
        block = event.personal
        if block is not None:
            sealed = key.seal(block, event=id_, subject=event.data_subject(stream))
            event = event.with_personal(sealed)  # noqa: PLW2901 - the sealed form of the same event
        yield Recorded(id_, "/crm/service", stream, sequence, event.occurred_at, "grace", "story", "cause", event)


def fill(postgres_uri: str, rows: Iterator[StoredEvent]) -> None:
    """Store rows as fast as the database takes them."""
    statement = "COPY store_events (originator_id, originator_version, topic, state) FROM STDIN"
    with psycopg.connect(postgres_uri) as connection, connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row((row.originator_id, row.originator_version, row.topic, row.state))


async def relayed(store: EventStore, postgres_uri: str, bootstrap: str, topic: Topic) -> int:
    """Have the platform's relay publish the whole store to a new topic; how many events that were."""
    stored = await asyncio.to_thread(store.store.max_notification_id) or 0
    relay = parts.relay(store, postgres_uri, bootstrap, topic)
    running = asyncio.create_task(relay.run())
    try:
        while published(topic) < stored:
            if running.done():
                running.result()
            await asyncio.sleep(_POLL)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return stored


def published(topic: Topic) -> int:
    """How many events a relay of this process has published to the topic, as it tells its metrics."""
    (metric,) = EVENTS_PUBLISHED.labels(topic=topic.name).collect()
    return int(metric.samples[0].value)
