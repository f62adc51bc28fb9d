"""Pages of a customer's timeline: the first stands in the view too, the others follow by cursor."""

from collections.abc import Sequence

from crm_gateway.answers import Timeline, TimelineItem
from crm_gateway.queries.selection import TimelinePosition
from crm_platform.http.paging import CursorSigner


class TimelinePages:
    """Cuts one customer's timeline into pages; a cursor of another customer's is not accepted."""

    def __init__(self, cursor_key: bytes, contact_id: str) -> None:
        self._signer = CursorSigner(cursor_key, f"timeline/{contact_id}".encode())

    def page(self, items: Sequence[TimelineItem], limit: int) -> Timeline:
        """The first `limit` items; that there are more tells that another page follows."""
        shown = list(items[:limit])
        if len(items) <= limit:
            return {"items": shown, "next": None}
        last = shown[-1]
        return {"items": shown, "next": self._signer.sign((last["occurred_at"], last["id"]))}

    def position(self, cursor: str) -> TimelinePosition:
        """Where the page before ended. Raises Malformed."""
        return TimelinePosition(*self._signer.read(cursor))
