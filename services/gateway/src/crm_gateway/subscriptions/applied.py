"""How far the customers' read model has got, looked up once for all who follow it."""

from time import monotonic

from crm_gateway.subscriptions.cursors import Positions
from crm_platform.read_model import ReadModel

KEPT_SECONDS = 0.1
"""What was applied this long ago is applied."""


class Applied:
    """The positions up to which the read model shows everything."""

    def __init__(self) -> None:
        self._generation = 0
        self._looked_at = float("-inf")
        self._positions: Positions = {}

    async def positions(self, customers: ReadModel) -> Positions:
        """As of at most KEPT_SECONDS ago. Raises MongoError."""
        number = customers.generation.number
        if number != self._generation or monotonic() - self._looked_at > KEPT_SECONDS:
            looked_at = monotonic()
            self._positions = await customers.applied()
            self._generation, self._looked_at = number, looked_at
        return self._positions
