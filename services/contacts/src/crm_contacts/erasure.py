"""How far the erasure of a contact is: asked for by one person, confirmed by another, acknowledged by every service."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from crm_events.contacts import (
    Acknowledgement,
    ContactErased,
    ErasureAcknowledged,
    ErasureCompleted,
    ErasureGround,
    ErasureRequested,
)
from crm_events.erasures import ErasureStep
from crm_events.event import Instant

SERVICES = ("analytics", "contacts", "gateway", "marketing", "sales", "service")
"""All that keep anything about contacts: each has to acknowledge every erasure."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """`confirmed_by` and `erased_at` are None until the second person has confirmed."""

    ground: ErasureGround
    requested_by: str
    requested_at: Instant
    confirmed_by: str | None = None
    erased_at: Instant | None = None
    services: tuple[str, ...] = ()
    acknowledgements: tuple[Acknowledgement, ...] = ()

    @classmethod
    def requested(cls, event: ErasureRequested) -> "Erasure":
        return cls(event.ground, event.requested_by, event.occurred_at)

    def confirmed(self, event: ContactErased) -> "Erasure":
        return replace(self, confirmed_by=event.confirmed_by, erased_at=event.occurred_at, services=event.services)

    def acknowledged(self, event: ErasureAcknowledged) -> "Erasure":
        told = Acknowledgement(service=event.service, step=event.step, at=event.occurred_at)
        return replace(self, acknowledgements=(*self.acknowledgements, told))

    def waits_for(self, service: str, step: ErasureStep) -> bool:
        """Whether this acknowledgement is missing."""
        return service in missing(step, self.services, self._given)

    @property
    def is_everywhere(self) -> bool:
        """Whether every service has taken every step."""
        return not any(missing(step, self.services, self._given) for step in ErasureStep)

    @property
    def _given(self) -> list[tuple[str, str]]:
        return [(each.service, each.step.value) for each in self.acknowledgements]

    def proof(self, at: Instant) -> ErasureCompleted:
        assert self.confirmed_by is not None  # noqa: S101 - no service answers before that
        assert self.erased_at is not None  # noqa: S101 - as above
        return ErasureCompleted(
            occurred_at=at,
            ground=self.ground,
            requested_by=self.requested_by,
            requested_at=self.requested_at,
            confirmed_by=self.confirmed_by,
            erased_at=self.erased_at,
            acknowledgements=self.acknowledgements,
        )


def missing(step: ErasureStep, services: Iterable[str], given: Iterable[tuple[str, str]]) -> list[str]:
    """The services that have not taken the step; `given` are service and step of each acknowledgement."""
    done = set(given)
    return [service for service in services if (service, step.value) not in done]
