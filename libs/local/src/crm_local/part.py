"""What the supervisor asks of each part of the stack."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from crm_local.errors import NotReadyError
from crm_local.process import Launch

Say = Callable[[str], None]
_READY_POLL = 0.1


class Part(ABC):
    """One process of the stack: how it is made ready to start, started, and asked whether it is well."""

    name: str
    address: str
    ready_within: float = 90.0
    """Seconds after its start within which the part must be ready."""
    alive_every: float = 10.0
    """Seconds between two looks at whether a part that was ready still lives."""

    async def prepare(self, say: Say) -> None:  # noqa: B027 - most parts need nothing
        """What must exist before the process starts; done again at each start. Raises LocalStackError."""

    @abstractmethod
    def launch(self) -> Launch:
        """The process. Called after `prepare`."""

    async def arrange(self) -> None:  # noqa: B027 - as above
        """What only a running process can set up, done after each start. Raises NotReadyError until it can."""

    @abstractmethod
    async def check_ready(self) -> None:
        """Returns if the part can be used, and changes nothing. Raises NotReadyError."""

    async def is_stuck(self) -> bool:
        """Whether the process runs but shows no life, or says itself that it has none: then only a restart helps."""
        return False


async def until_ready(part: Part, say: Say) -> None:
    """Arranges a running part and returns once it can be used; `say` hears why it could not yet."""
    await _until_it_answers(part.arrange, say)
    await _until_it_answers(part.check_ready, say)


async def _until_it_answers(ask: Callable[[], Awaitable[None]], say: Say) -> None:
    while True:
        try:
            await ask()
        except NotReadyError as answer:
            say(str(answer))
        else:
            return
        await asyncio.sleep(_READY_POLL)
