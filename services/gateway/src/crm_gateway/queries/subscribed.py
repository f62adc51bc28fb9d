"""The events of one customer as subscribers are given them, out of the history of the customers' read model."""

from collections.abc import Sequence
from uuid import UUID

from crm_events.envelope import event_id
from crm_gateway.queries.streams import own_streams
from crm_gateway.subscriptions.belonging import Owned
from crm_platform.history import Placed
from crm_platform.inbound import Inbound
from crm_platform.read_model import ReadModel


class CustomerEvents:
    """Where the events of one customer stand; those found once are not looked up again."""

    def __init__(self, contact_id: str) -> None:
        self._contact_id = contact_id
        self._ids: dict[str, list[UUID]] = {}
        self._placed: dict[UUID, Placed] = {}

    async def owned(self, customers: ReadModel) -> list[Owned]:
        """Every event of the customer that the read model shows by now; none where it knows no such customer."""
        streams = await own_streams(customers, self._contact_id)
        for stream, length in streams.lengths.items():
            known = self._ids.setdefault(stream, [])
            known += [event_id(UUID(stream), n) for n in range(len(known) + 1, length + 1)]
        ids = [id_ for known in self._ids.values() for id_ in known if id_ not in self._placed]
        self._placed |= await customers.history.places(ids)
        return [
            Owned(id_, self._placed[id_], self._answer(streams.answers.get(stream)))
            for stream, known in self._ids.items()
            for id_ in known
            if id_ in self._placed
        ]

    def _answer(self, stream: str | None) -> Placed | None:
        """The first event of the stream in which contacts answered."""
        return None if stream is None else self._placed[self._ids[stream][0]]

    @staticmethod
    async def documents(customers: ReadModel, events: Sequence[Owned]) -> list[Inbound]:
        """The events themselves, in that order."""
        return await customers.history.events([event.id for event in events])
