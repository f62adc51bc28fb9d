"""The read model that readers see: whichever of its generations is live."""

from collections.abc import Sequence
from time import monotonic

from crm_events.registry import Registry
from crm_platform import mongo
from crm_platform.errors import Unavailable
from crm_platform.generations import Generations
from crm_platform.keyring import Keyring
from crm_platform.projection import Projection
from crm_platform.read_model import ReadModel
from crm_platform.wakeup import Wakeup

WAIT_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.02
"""Another process may keep the read model, so a waiting read looks for itself, too."""


class LiveReadModel:
    """One projection's read model, by its live generation; a request asks once and stays with what it got."""

    def __init__(
        self,
        projection: Projection,
        database: mongo.Database,
        registry: Registry,
        keyring: Keyring,
        applied: Wakeup,
    ) -> None:
        self._generations = Generations(projection, database)
        self._database = database
        self._registry = registry
        self._keyring = keyring
        self._applied = applied
        self._model: ReadModel | None = None

    async def current(self) -> ReadModel:
        """The live generation. Raises MongoError."""
        live = await self._generations.live()
        if self._model is None or self._model.generation.number != live.number:
            self._model = ReadModel(live, self._database, self._registry, self._keyring)
        return self._model

    async def after(self, positions: Sequence[str]) -> ReadModel:
        """The live generation, once it shows what these CRM-Position tokens speak of; raises Unavailable after 5 s."""
        deadline = monotonic() + WAIT_SECONDS
        while not await (model := await self.current()).has_seen(positions):
            if monotonic() > deadline:
                raise Unavailable(
                    f"The write that CRM-After names is not visible here within {WAIT_SECONDS:.0f} s; try again."
                )
            await self._applied.wait(LOOK_AGAIN_SECONDS)
        return model
