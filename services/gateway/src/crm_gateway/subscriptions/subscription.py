"""One subscriber's reading: what is given, as it is sent, and the cursor to go on from."""

from collections.abc import Sequence
from typing import NamedTuple

from crm_gateway.blind_indexes import without_blind_indexes
from crm_gateway.subscriptions.cursors import SubscriptionCursors
from crm_gateway.subscriptions.given import Feed, Given
from crm_gateway.subscriptions.personal import opened
from crm_platform.live_read_model import LiveReadModel
from crm_platform.metrics import EVENTS_GIVEN


class Shown(NamedTuple):
    """An event as it is sent. `cursor` goes on behind it."""

    type_name: str
    document: bytes
    cursor: str


class Subscription:
    """A feed for one token subject; with `keys` it opens personal blocks."""

    def __init__(self, feed: Feed, cursors: SubscriptionCursors, keys: LiveReadModel | None) -> None:
        self._feed = feed
        self._cursors = cursors
        self._keys = keys
        self._unopened: Sequence[Given] = ()

    @property
    def cursor(self) -> str:
        """Behind all that was given."""
        return self._cursors.write(self._feed.cursor)

    @property
    def more(self) -> bool:
        return self._feed.more

    async def wait(self, seconds: float) -> None:
        await self._feed.wait(seconds)

    async def next(self, limit: int) -> list[Shown]:
        """The next events; see `Feed.next`. Raises Unavailable, and gives them when it is called again."""
        if not self._unopened:
            self._unopened = await self._feed.next(limit)
        given = self._unopened
        if given and self._keys is not None:
            given = await opened(await self._keys.current(), given)
        self._unopened = ()
        return [self._shown(event) for event in given]

    def _shown(self, event: Given) -> Shown:
        EVENTS_GIVEN.labels(topic=event.topic).inc()
        document = without_blind_indexes(event.type_name, event.document)
        return Shown(event.type_name, document, self._cursors.write(event.cursor))
