"""Deletes what adapters wrote of an erased contact in the clear: on crm.interactions, parked, and discarded."""

from collections.abc import Callable
from uuid import UUID

from crm_contacts.domain import Contact
from crm_contacts.identity import Identity
from crm_contacts.policies import IdentifyParties
from crm_events.adapter import InteractionRecorded
from crm_events.topics import INTERACTIONS
from crm_platform.erasure.steps import Eraser
from crm_platform.event_store.application import EventStore
from crm_platform.inbound import Inbound
from crm_platform.parts import Parts
from crm_platform.policy_parking import PolicyParking
from crm_platform.purge import Purge

ACTOR = "service:contacts"
REASON = "the person is erased"


class InteractionsEraser:
    """Everything that the policy has taken in is purged; of what it could not, the person's own is deleted."""

    def __init__(self, policy: IdentifyParties, purge: Purge, parking: PolicyParking, event_store: EventStore) -> None:
        self._policy = policy
        self._purge = purge
        self._parking = parking
        self._event_store = event_store

    async def erase(self, contact_id: UUID) -> None:
        await self._purge.at_once()
        await self._parking.forget(INTERACTIONS.name, self._about(contact_id), actor=ACTOR, reason=REASON)

    def _about(self, contact_id: UUID) -> Callable[[Inbound], bool]:
        identifiers = self._identifiers(contact_id)

        def about(inbound: Inbound) -> bool:
            event = inbound.event
            if event is None:
                return False
            if isinstance(event.data, InteractionRecorded) and event.data.party.contact_id == contact_id:
                return True
            return not identifiers.isdisjoint(self._policy.streams(event))

        return about

    def _identifiers(self, contact_id: UUID) -> frozenset[UUID]:
        """The blind indexes of all identifiers that the contact ever had."""
        stored = self._event_store.histories((contact_id,)).get(contact_id)
        return Contact.fold(contact_id, stored.history if stored else ()).ever_identified_by


def interactions_eraser(identity: Identity) -> Callable[[Parts], Eraser]:
    """Made from what a process of contacts has opened."""

    def made(parts: Parts) -> Eraser:
        policy = IdentifyParties(identity)
        return InteractionsEraser(
            policy, parts.purges[INTERACTIONS.name], parts.policy_parking[policy.name], parts.event_store
        )

    return made
