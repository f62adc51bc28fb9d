"""Contacts and identity: who is who, decided once.

An identifier belongs to one contact. That is an aggregate of its own, whose id is the identifier's blind index, saved
in the transaction that registers the contact: two who register the same address at the same time cannot both succeed.
"""

from typing import Any, ClassVar
from uuid import UUID

from crm_contacts.erasure import SERVICES, Erasure
from crm_events.adapter import InteractionRecorded
from crm_events.contacts import (
    Cause,
    ContactErased,
    ContactRegistered,
    ContactsEvent,
    ContactUpdated,
    ErasureAcknowledged,
    ErasureGround,
    ErasureRequested,
    ErasureWithdrawn,
    InteractionContent,
    InteractionLogged,
    PartyResolved,
    PartyUnknown,
    UnknownReason,
)
from crm_events.erasures import ErasureStep
from crm_events.event import Event, Instant, Sealed
from crm_events.parties import IdentifierIndex, Profile
from crm_platform.aggregate import Aggregate
from crm_platform.errors import AlreadyTaken, NotAllowed


class IdentifierClaimed(ContactsEvent):
    """The identifier whose blind index is the stream's id belongs to this contact."""

    public: ClassVar[bool] = False
    contact_id: UUID


class IdentifierReleased(ContactsEvent):
    """The identifier belongs to nobody any more."""

    public: ClassVar[bool] = False


class IdentifierErased(ContactsEvent):
    """Its contact was erased: what happened before is not taken in again, whoever says it."""

    public: ClassVar[bool] = False


PRIVATE_EVENTS: tuple[type[Event], ...] = (IdentifierClaimed, IdentifierReleased, IdentifierErased)


class IdentifierOwner(Aggregate):
    """Whose identifier it is, and since when the contact whose it was is erased."""

    contact_id: UUID | None = None
    erased_at: Instant | None = None

    def claim(self, contact_id: UUID, at: Instant) -> None:
        """Claiming what one has already changes nothing. Raises AlreadyTaken."""
        if self.contact_id == contact_id:
            return
        if self.contact_id is not None:
            raise AlreadyTaken(f"An identifier given belongs to contact {self.contact_id}: use or update that contact.")
        self.record(IdentifierClaimed(occurred_at=at, contact_id=contact_id))

    def release(self, contact_id: UUID, at: Instant) -> None:
        if self.contact_id == contact_id:
            self.record(IdentifierReleased(occurred_at=at))

    def erase(self, contact_id: UUID, at: Instant) -> None:
        """Also of a contact whose it was before, not if it is somebody else's by now. A repeat changes nothing."""
        if self.contact_id in (contact_id, None) and not self.was_erased_since(at):
            self.record(IdentifierErased(occurred_at=at))

    def was_erased_since(self, happened: Instant) -> bool:
        """Whether a contact whose identifier it was was erased after that happened, whosever it is now."""
        return self.erased_at is not None and happened <= self.erased_at

    def apply(self, event: Event) -> None:
        match event:
            case IdentifierClaimed():
                self.contact_id = event.contact_id
            case IdentifierReleased():
                self.contact_id = None
            case IdentifierErased():
                self.contact_id, self.erased_at = None, event.occurred_at


class Contact(Aggregate):
    """A person the business knows. `profile` is sealed once it is loaded from the store."""

    profile: Profile | Sealed | None = None
    identifiers: tuple[IdentifierIndex, ...] = ()
    ever_identified_by: frozenset[UUID] = frozenset()
    erasure: Erasure | None = None

    @property
    def exists(self) -> bool:
        """A stream of another kind is no contact, though its id may be asked for."""
        return self.profile is not None

    @property
    def erased_at(self) -> Instant | None:
        """When the second person confirmed its erasure."""
        return self.erasure.erased_at if self.erasure else None

    @property
    def is_erased(self) -> bool:
        return self.erased_at is not None

    @property
    def is_known(self) -> bool:
        """Whether it is somebody of whom something may be said."""
        return self.exists and not self.is_erased

    def was_erased_since(self, happened: Instant) -> bool:
        return self.erased_at is not None and happened <= self.erased_at

    @property
    def known_profile(self) -> Profile | Sealed:
        """The profile of a contact that exists."""
        assert self.profile is not None  # noqa: S101 - a contact exists by its profile
        return self.profile

    def register(self, source: str, profile: Profile, identifiers: tuple[IdentifierIndex, ...], at: Instant) -> None:
        if self.exists:
            raise NotAllowed("This contact is registered already.")
        self.record(ContactRegistered(occurred_at=at, source=source, profile=profile, identifiers=identifiers))

    def update(self, before: Profile, after: Profile, identifiers: tuple[IdentifierIndex, ...], at: Instant) -> None:
        """Take over a changed profile; one that says the same as before changes nothing."""
        changed = tuple(name for name in Profile.model_fields if getattr(before, name) != getattr(after, name))
        if changed:
            self.record(ContactUpdated(occurred_at=at, changed=changed, profile=after, identifiers=identifiers))

    def erase(self, by: str, ground: ErasureGround | None, at: Instant) -> None:
        """The first person asks for it and says why, the second one does it for the same reason. Raises NotAllowed."""
        if self.erasure is None:
            self.record(ErasureRequested(occurred_at=at, ground=ground or ErasureGround.ASKED, requested_by=by))
        elif self.is_erased:
            raise NotAllowed("This contact is erased already. GET /contacts/{id}/erasure says how far that is.")
        elif self.erasure.requested_by == by:
            raise NotAllowed(
                "You have asked for this erasure; it needs a second person. Somebody else with the role privacy has to"
                " send the same request."
            )
        elif ground not in (None, self.erasure.ground):
            raise NotAllowed(
                f"This erasure was asked for on the ground `{self.erasure.ground}`. Confirm it on the same one, or"
                " withdraw it and ask for it anew."
            )
        else:
            self.record(ContactErased(occurred_at=at, confirmed_by=by, services=SERVICES))

    def withdraw_erasure(self, by: str, at: Instant) -> None:
        """Raises NotAllowed."""
        if self.erasure is None:
            raise NotAllowed("No request to erase this contact is open: none was made, or it was withdrawn.")
        if self.is_erased:
            raise NotAllowed("This contact is erased; that cannot be taken back.")
        self.record(ErasureWithdrawn(occurred_at=at, withdrawn_by=by))

    def acknowledge_erasure(self, service: str, step: ErasureStep, at: Instant) -> None:
        """A service says that it has taken a step. A repeat changes nothing, nor does one that nobody waits for."""
        if self.erasure is None or not self.erasure.waits_for(service, step):
            return
        self.record(ErasureAcknowledged(occurred_at=at, service=service, step=step))
        if self.erasure.is_everywhere:
            self.record(self.erasure.proof(at))

    def apply(self, event: Event) -> None:
        match event:
            case ContactRegistered() | ContactUpdated():
                self.profile, self.identifiers = event.profile, event.identifiers
                self.ever_identified_by |= {identifier.index for identifier in event.identifiers}
            case ErasureRequested():
                self.erasure = Erasure.requested(event)
            case ErasureWithdrawn():
                self.erasure = None
            case ContactErased() if self.erasure is not None:
                self.erasure, self.identifiers = self.erasure.confirmed(event), ()
            case ErasureAcknowledged() if self.erasure is not None:
                self.erasure = self.erasure.acknowledged(event)


class Interaction(Aggregate):
    """One interaction: a stream of its own, so that a repeat is recognised and no contact runs hot."""

    def log(self, contact_id: UUID, source: str, interaction: InteractionRecorded) -> None:
        """A repeat changes nothing."""
        if not self.exists:
            self.record(
                InteractionLogged(
                    occurred_at=interaction.occurred_at,
                    contact_id=contact_id,
                    source=source,
                    channel=interaction.channel,
                    direction=interaction.direction,
                    order=interaction.order_value(),
                    campaign_id=interaction.campaign_id(),
                    content=_content(interaction),
                )
            )

    def apply(self, event: Event) -> None:
        """That it happened is all its state."""


def _content(interaction: InteractionRecorded) -> InteractionContent:
    names = InteractionContent.model_fields
    said: dict[str, Any] = {name: getattr(interaction, name) for name in names}
    return InteractionContent(**said)


class PartyAnswer(Aggregate):
    """The answer to one lead or ticket; it is given once."""

    def resolve(self, cause: Cause, cause_id: UUID, contact_id: UUID, at: Instant) -> None:
        self.record(PartyResolved(occurred_at=at, cause=cause, cause_id=cause_id, contact_id=contact_id))

    def give_up(self, cause: Cause, cause_id: UUID, reason: UnknownReason, at: Instant) -> None:
        self.record(PartyUnknown(occurred_at=at, cause=cause, cause_id=cause_id, reason=reason))

    def apply(self, event: Event) -> None:
        """That it was given is all its state."""
