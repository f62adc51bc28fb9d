"""Queries over HTTP: rights, read-your-writes, and the read model that answers."""

import re
from typing import Final

from fastapi import Request

from crm_events.topics import TOPICS
from crm_platform.auth import Guard, Role
from crm_platform.errors import Malformed
from crm_platform.http.connected import connected
from crm_platform.http.paging import Page, PageRequest, Paging
from crm_platform.live_read_model import LiveReadModel
from crm_platform.projection import Projection
from crm_platform.read_model import ReadModel

__all__ = ["Page", "PageRequest", "Paging", "positions_after", "read_model"]

AFTER_HEADER: Final = "CRM-After"
MAX_POSITIONS: Final = 64
_POSITION = re.compile(
    r"[a-z][a-z0-9._-]{0,99}/[0-9]{1,5}@[0-9]{1,18}"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}@[0-9]{1,10}"
)

_PARTITIONS: Final = {topic.name: topic.partitions for topic in TOPICS}
_ALL_PARTITIONS: Final = ", ".join(f"{topic.name}/0 to {topic.partitions - 1}" for topic in TOPICS)


def positions_after(request: Request) -> tuple[str, ...]:
    """The positions that the client wants the answer to include (CRM-After). Raises Malformed."""
    header = request.headers.get(AFTER_HEADER)
    if not header:
        return ()
    positions = tuple(header.split())
    if len(positions) > MAX_POSITIONS:
        raise Malformed(f"{AFTER_HEADER} may hold {MAX_POSITIONS} positions at most.")
    if not all(_POSITION.fullmatch(position) for position in positions):
        raise Malformed(f"{AFTER_HEADER} must hold positions as CRM-Position gave them, separated by spaces.")
    if not all(_can_be(position) for position in positions):
        raise Malformed(
            f"{AFTER_HEADER} names a partition that no topic has: there are {_ALL_PARTITIONS}."
            " Leave that position out, or send back CRM-Position as the write gave it."
        )
    return positions


def _can_be(position: str) -> bool:
    """Whether the position may ever be reached: nobody needs to wait for a place that does not exist."""
    topic, slash, partition = position.partition("@")[0].partition("/")
    return not slash or int(partition) < _PARTITIONS.get(topic, 0)


class ReadGuard(Guard):
    """The dependency that yields a read model to those who have one of the roles."""

    def __init__(self, projection: type[Projection], roles: tuple[Role, ...], *, admin: bool = True) -> None:
        super().__init__(roles, admin=admin)
        self._projection = projection

    async def __call__(self, request: Request) -> ReadModel:
        await self.actor(request)
        positions = positions_after(request)
        return await self._live(request).after(positions)

    def _live(self, request: Request) -> LiveReadModel:
        live: LiveReadModel = connected(request.app.state.read_models.get(self._projection))
        return live


def read_model(projection: type[Projection], *roles: Role) -> ReadGuard:
    """A dependency that yields the read model to those who have one of the roles, once it has passed CRM-After.

    An admin always may. Without roles any valid token may.
    """
    return ReadGuard(projection, roles)
