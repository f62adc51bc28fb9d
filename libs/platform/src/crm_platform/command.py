"""Commands: frozen wishes in the imperative, and the order in which one arrives."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Command(BaseModel):
    """What somebody wants done. FastAPI parses bodies straight into it; unknown members are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def streams(self, target: UUID) -> Iterable[UUID]:  # noqa: ARG002 - for those who override
        """Ids of the streams that handling it will load besides its target, so that a group loads them in one query."""
        return ()


@dataclass(frozen=True, slots=True)
class Order:
    """A command's circumstances: who gave it, to which aggregate, under which conditions.

    `id` makes the command idempotent: a second command with the same id is answered with the first one's receipt.
    `client_given` says that the id came from the client, so it may be a repeat. `if_match` is the version that the
    client has seen. `correlation` names the whole story. `fingerprint` tells whether a repeat of a client's id comes
    with the same command (32 bytes; empty where the id is not the client's).
    """

    id: UUID
    actor: str
    target: UUID
    now: datetime
    if_match: int | None = None
    client_given: bool = False
    correlation: str = ""
    fingerprint: bytes = b""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a command: the aggregate's id and version, and where its events stand.

    `positions` are tokens for CRM-Position (docs/adr/0004): `topic/partition@position` of the last published event
    in each partition written, and `stream@version` of answers that another service will give.
    """

    id: UUID
    version: int
    positions: tuple[str, ...] = field(default=())
