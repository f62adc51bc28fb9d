"""What the customer adds up to. One record per partition, for a record is written from one partition only."""

from datetime import datetime

import msgspec

from crm_events.contacts import InteractionLogged
from crm_events.envelope import Recorded
from crm_events.parties import OrderValue
from crm_platform.projection import Document, Index, Place, Projection, fold


class CustomerTotals(Document, frozen=True, kw_only=True):
    """What one partition knows of a customer; the view sums them.

    `revenue` is in minor units by currency; a return lowers it and is no order.
    """

    collection = "totals"
    indexes = (Index("contact_id"),)

    contact_id: str
    interactions: int = 0
    orders: int = 0
    revenue: dict[str, int] = {}
    last_contact_at: datetime


def by_contact_and_partition(event: Recorded[InteractionLogged], place: Place) -> str:
    return f"{event.data.contact_id}/{place.partition}"


class TotalsFolds(Projection):
    @fold(InteractionLogged, CustomerTotals, key=by_contact_and_partition)
    def interaction_counted(self, totals: CustomerTotals | None, event: Recorded[InteractionLogged]) -> CustomerTotals:
        logged = event.data
        contact = str(logged.contact_id)
        if totals is None:
            totals = CustomerTotals(id="", contact_id=contact, last_contact_at=logged.occurred_at)
        return msgspec.structs.replace(
            totals,
            interactions=totals.interactions + 1,
            orders=totals.orders + (logged.order is not None and logged.order.amount >= 0),
            revenue=_with_order(totals.revenue, logged.order),
            last_contact_at=max(totals.last_contact_at, logged.occurred_at),
        )


def _with_order(revenue: dict[str, int], order: OrderValue | None) -> dict[str, int]:
    if order is None:
        return revenue
    return {**revenue, order.currency: revenue.get(order.currency, 0) + order.minor_units}
