"""What subscribers are given, and what gives it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from crm_gateway.subscriptions.cursors import SubscriptionCursor


class Given(NamedTuple):
    """An event: its CloudEvents document as it was published, and the cursor behind it."""

    topic: str
    type_name: str
    document: bytes
    cursor: SubscriptionCursor


class Feed(Protocol):
    """Events in order, from a cursor on."""

    @property
    def cursor(self) -> SubscriptionCursor:
        """Behind all that was given and passed over."""
        ...

    @property
    def more(self) -> bool:
        """Whether something is known to stand behind the cursor."""
        ...

    async def next(self, limit: int) -> Sequence[Given]:
        """The next events, at most `limit`; fewer, or none, also where more stand behind the cursor.

        Raises EventsGone, and Unavailable where it cannot be told what comes next.
        """
        ...

    async def wait(self, seconds: float) -> None:
        """Until there may be more, at most that long."""
        ...
