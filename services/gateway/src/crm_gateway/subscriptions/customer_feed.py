"""One customer's events, out of the history of the customers' read model (docs/adr/0018).

They cost what that customer's events cost, however many others there are.
"""

import asyncio
from collections.abc import Sequence
from time import monotonic

import orjson

from crm_gateway.queries.streams import own_streams
from crm_gateway.queries.subscribed import CustomerEvents
from crm_gateway.subscriptions.applied import Applied
from crm_gateway.subscriptions.belonging import Owned, after_event, after_step, covers, due, next_step
from crm_gateway.subscriptions.cursors import CustomerCursor, Positions, by_place
from crm_gateway.subscriptions.event_filter import EventFilter
from crm_gateway.subscriptions.given import Given
from crm_platform.errors import NotFound
from crm_platform.live_read_model import LiveReadModel
from crm_platform.read_model import ReadModel

SEARCH_SECONDS = 1.0
"""A rare type is looked for so long before the answer is that it was not found yet."""
LOOK_SECONDS = 0.1
REST_FACTOR = 50.0
"""A look is followed by a rest so many times as long: customers with long histories do not take the process."""


class CustomerFeed:
    """The events of a filter with a customer, from a cursor on."""

    def __init__(
        self, live: LiveReadModel, applied: Applied, asked: EventFilter, contact_id: str, cursor: CustomerCursor
    ) -> None:
        self._live = live
        self._applied = applied
        self._asked = asked
        self._contact_id = contact_id
        self._events = CustomerEvents(contact_id)
        self._cursor = cursor
        self._due: list[Owned] = []
        self._reached: Positions = {}
        self._rests_until = 0.0

    @property
    def cursor(self) -> CustomerCursor:
        return self._cursor

    @property
    def more(self) -> bool:
        return bool(self._due) or not covers(by_place(self._cursor.given), self._reached)

    async def must_be_known(self) -> None:
        """Raises NotFound."""
        if not (await own_streams(await self._live.current(), self._contact_id)).lengths:
            raise NotFound(f"There is no customer {self._contact_id}.")

    async def wait(self, seconds: float) -> None:
        if not self._due:
            await asyncio.sleep(min(seconds, max(LOOK_SECONDS, self._rests_until - monotonic())))

    async def next(self, limit: int) -> list[Given]:
        customers = await self._live.current()
        if not self._due and monotonic() >= self._rests_until:
            began = monotonic()
            await self._look(customers)
            self._rests_until = monotonic() + REST_FACTOR * (monotonic() - began)
        given: list[Given] = []
        until = monotonic() + SEARCH_SECONDS
        while self._due and not given and monotonic() < until:
            taken = self._due[:limit]
            given = await self._given(customers, taken)
            self._due = self._due[limit:]
            self._cursor = after_event(self._cursor, taken[-1]) if self._due else after_step(self._cursor)
        return given

    async def _look(self, customers: ReadModel) -> None:
        """Find what is due. How far the read model has got is asked first: up to there it then shows everything."""
        applied = self._reached = await self._applied.positions(customers)
        owned: Sequence[Owned] | None = None
        while not self._due and (step := next_step(self._cursor, applied)):
            if owned is None:
                owned = await self._events.owned(customers)
            self._due = due(owned, step)
            self._cursor = step if self._due else after_step(step)

    async def _given(self, customers: ReadModel, events: Sequence[Owned]) -> list[Given]:
        """Those of the events that the filter lets through."""
        given = []
        for event, kept in zip(events, await self._events.documents(customers, events), strict=True):
            type_name = orjson.loads(kept.record.value)["type"]
            recorded = kept.event.time.timestamp() * 1000 if kept.event else 0
            since = self._cursor.since
            if self._asked.passes(type_name) and (since is None or int(recorded) >= since):
                cursor = after_event(self._cursor, event)
                given.append(Given(event.placed.partition.topic, type_name, kept.record.value, cursor))
        return given
