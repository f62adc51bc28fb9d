"""A customer as of any past moment. The cost grows with the events of that customer, not with anybody else's."""

from datetime import UTC, datetime

from crm_events.event import written
from crm_gateway.queries.selection import FoldedRecords
from crm_gateway.queries.streams import customer_streams
from crm_platform.errors import NotFound, NotYetHappened, Refusal
from crm_platform.inbound import Inbound
from crm_platform.past import Axis, documents_after, known_at
from crm_platform.read_model import ReadModel

MOST_EVENTS = 100_000
"""Of one customer. Whoever has more is no person."""


class TooManyEvents(Refusal):
    status, code, title = 422, "too-many-events", "There are too many events"


async def past_records(customers: ReadModel, contact_id: str, at: datetime, axis: Axis) -> FoldedRecords:
    """The records of a customer as they were. Raises NotYetHappened, NotFound and TooManyEvents."""
    if at > datetime.now(UTC):
        raise NotYetHappened("`at` is yet to come: give a moment that is past, or leave it out for the live view.")
    kept = await customer_events(customers, contact_id)
    known = known_at(kept, at, axis)
    if not known:
        first = min(_instant(inbound, axis) for inbound in kept)
        raise NotFound(
            f"There was no customer {contact_id} then: the first fact about it "
            f"{'was recorded' if axis is Axis.RECORDED else 'is of'} {written(first)}."
        )
    return FoldedRecords(documents_after(customers.generation.projection, known))


async def customer_events(customers: ReadModel, contact_id: str) -> list[Inbound]:
    """Every event of a customer, each stream's in order. Raises NotFound and TooManyEvents."""
    streams = await customer_streams(customers, contact_id)
    if not streams:
        raise NotFound(f"There is no customer {contact_id}.")
    if (events := sum(streams.values())) > MOST_EVENTS:
        raise TooManyEvents(f"This customer has {events} events; the past is told of {MOST_EVENTS} at most.")
    return await customers.history.of_streams(streams)


def _instant(inbound: Inbound, axis: Axis) -> datetime:
    event = inbound.applied_event
    return event.time if axis is Axis.RECORDED else event.data.occurred_at
