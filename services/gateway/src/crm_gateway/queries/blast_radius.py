"""What led to an event, and everything that followed from it, across services."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from crm_events.contacts import (
    ContactErased,
    ContactRegistered,
    ContactUpdated,
    ErasureAcknowledged,
    ErasureCompleted,
    ErasureRequested,
    ErasureWithdrawn,
)
from crm_events.envelope import Recorded
from crm_events.event import Event
from crm_gateway.answers import BlastRadius, TracedEvent
from crm_gateway.projections.opportunities import OpportunityRecord
from crm_gateway.projections.parties import PartyLink
from crm_gateway.queries.selection import LiveRecords, Wanted
from crm_platform.errors import NotFound
from crm_platform.history import events_of
from crm_platform.read_model import ReadModel

MOST_EVENTS = 5_000
"""Of one story. A campaign that enrols a whole country is one story, and is not shown whole."""
_OF_A_CONTACT = (
    ContactRegistered,
    ContactUpdated,
    ErasureRequested,
    ErasureWithdrawn,
    ContactErased,
    ErasureAcknowledged,
    ErasureCompleted,
)
"""Events whose stream is the contact's own."""


async def blast_radius(customers: ReadModel, event_id: UUID) -> BlastRadius:
    """The event's place in its story, and the customers that it touched with all that followed. Raises NotFound."""
    found = events_of(await customers.history.events([event_id]))
    if not found:
        raise NotFound(
            f"There is no published event {event_id} here. It may be a command's id, or not have arrived yet."
        )
    (event,) = found
    story = events_of(await customers.history.of_story(event.correlation, MOST_EVENTS + 1))
    before, after = _causes(event, story), _effects(event, story[:MOST_EVENTS])
    return {
        "event": _traced(event),
        "causes": [_traced(each) for each in before],
        "effects": [_traced(each) for each in after],
        "customers": await _touched(customers, [event, *after]),
        "complete": len(story) <= MOST_EVENTS,
    }


def _causes(event: Recorded[Event], story: Iterable[Recorded[Event]]) -> list[Recorded[Event]]:
    """From the first that is an event to the one that led to this one."""
    by_id = {str(each.id): each for each in story}
    chain: list[Recorded[Event]] = []
    cause = by_id.get(event.causation)
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = by_id.get(cause.causation)
    return chain[::-1]


def _effects(event: Recorded[Event], story: Iterable[Recorded[Event]]) -> list[Recorded[Event]]:
    """All that followed, directly or not, in the order in which it was recorded."""
    caused = defaultdict[str, list[Recorded[Event]]](list)
    for each in story:
        caused[each.causation].append(each)
    found: dict[UUID, Recorded[Event]] = {}
    waiting = [event]
    while waiting:
        for effect in caused[str(waiting.pop().id)]:
            if effect.id not in found:
                found[effect.id] = effect
                waiting.append(effect)
    return sorted(found.values(), key=lambda each: (each.time, each.subject, each.sequence))


def _traced(event: Recorded[Event]) -> TracedEvent:
    return {
        "id": str(event.id),
        "type": event.data.type_name(),
        "stream": str(event.subject),
        "sequence": event.sequence,
        "recorded_at": event.time,
        "occurred_at": event.data.occurred_at,
        "actor": event.actor,
        "cause": event.causation,
        "correlation": event.correlation,
    }


async def _touched(customers: ReadModel, events: Sequence[Recorded[Event]]) -> list[str]:
    """The contacts whose view shows one of these events."""
    named = {str(contact) for event in events if (contact := getattr(event.data, "contact_id", None)) is not None}
    named |= {str(event.subject) for event in events if isinstance(event.data, _OF_A_CONTACT)}
    records = LiveRecords(customers)
    streams = sorted({str(event.subject) for event in events})
    deals = (await records.select(Wanted(OpportunityRecord, "_id", streams))).of(OpportunityRecord)
    asked = sorted({*streams, *(deal.lead_id for deal in deals)})
    links = (await records.select(Wanted(PartyLink, "cause_id", asked))).of(PartyLink)
    return sorted(named | {link.contact_id for link in links if link.contact_id})
