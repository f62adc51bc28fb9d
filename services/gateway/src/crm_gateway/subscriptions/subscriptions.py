"""From what a subscriber asks for to its subscription."""

from dataclasses import dataclass

from crm_gateway.subscriptions.applied import Applied
from crm_gateway.subscriptions.cursors import LogCursor, SubscriptionCursor, SubscriptionCursors
from crm_gateway.subscriptions.customer_feed import CustomerFeed
from crm_gateway.subscriptions.event_filter import EventFilter
from crm_gateway.subscriptions.event_log import EventLog
from crm_gateway.subscriptions.given import Feed
from crm_gateway.subscriptions.log_feed import LogFeed
from crm_gateway.subscriptions.start import Start, customer_start, log_start
from crm_gateway.subscriptions.subscription import Subscription
from crm_platform.live_read_model import LiveReadModel


@dataclass(frozen=True, slots=True)
class Asked:
    """`after` is a cursor; without it the subscription begins at the start."""

    filter: EventFilter
    start: Start
    after: str | None
    opens_personal: bool


class Subscriptions:
    """Makes subscriptions over one event log."""

    def __init__(self, log: EventLog, cursor_key: bytes) -> None:
        self._log = log
        self._key = cursor_key
        self._applied = Applied()

    async def subscription(self, asked: Asked, subject: str, live: LiveReadModel) -> Subscription:
        """Raises Malformed for a cursor that is not this subject's for this filter, NotFound for an unknown customer,
        and Unavailable.
        """
        cursors = SubscriptionCursors(self._key, subject, asked.filter)
        cursor = cursors.read(asked.after) if asked.after else None
        customer = asked.filter.customer
        feed = await (
            self._log_feed(asked, cursor) if customer is None else self._customer_feed(asked, customer, cursor, live)
        )
        return Subscription(feed, cursors, live if asked.opens_personal else None)

    async def _log_feed(self, asked: Asked, cursor: SubscriptionCursor | None) -> Feed:
        places = asked.filter.places
        if not isinstance(cursor, LogCursor):
            cursor = await log_start(self._log, places, asked.start)
        return LogFeed(self._log, asked.filter, places, cursor)

    async def _customer_feed(
        self, asked: Asked, customer: str, cursor: SubscriptionCursor | None, live: LiveReadModel
    ) -> Feed:
        if cursor is None or isinstance(cursor, LogCursor):
            feed = CustomerFeed(live, self._applied, asked.filter, customer, customer_start(asked.start))
            await feed.must_be_known()
            return feed
        return CustomerFeed(live, self._applied, asked.filter, customer, cursor)
