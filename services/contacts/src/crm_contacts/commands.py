"""What people may want done with contacts."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from crm_events.contacts import ErasureGround
from crm_events.event import Instant
from crm_events.parties import MAX_IDENTIFIERS, Address, Identifier, IdentifierKind, PlainDate, Profile, ShortText
from crm_platform.command import Command

Identifiers = Annotated[tuple[Identifier, ...], Field(max_length=MAX_IDENTIFIERS)]
Addresses = Annotated[tuple[Address, ...], Field(max_length=16)]


class ProfileCommand(Command):
    """The members of a profile, all optional."""

    name: ShortText | None = None
    given_name: ShortText | None = None
    family_name: ShortText | None = None
    organisation: ShortText | None = None
    birth_date: PlainDate | None = None
    addresses: Addresses = ()
    identifiers: Identifiers = ()

    @model_validator(mode="after")
    def _no_references(self) -> Self:
        if any(i.kind is IdentifierKind.REFERENCE for i in self.identifiers):
            raise ValueError("an identifier is an email, phone, handle or cookie; references belong to adapters")
        return self

    def given(self) -> dict[str, object]:
        """The members that the client sent."""
        names = self.model_fields_set & set(Profile.model_fields)
        return {name: getattr(self, name) for name in names}


class RegisterContact(ProfileCommand):
    """Make a person known. `source` says where the person came from."""

    source: ShortText = "staff"
    occurred_at: Instant | None = None

    @model_validator(mode="after")
    def _describes_somebody(self) -> Self:
        if not (self.name or self.given_name or self.family_name or self.organisation or self.identifiers):
            raise ValueError("a contact needs a name, an organisation or an identifier")
        return self


class UpdateContact(ProfileCommand):
    """Change the members that are sent; null, or an empty list, clears one."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one member to change")
        return self


class EraseContact(Command):
    """Erase a person's data for good: the first request asks for it, the same one from a second person does it.

    `ground` is given by the first, `asked` if nothing is said; the second may leave it out, and says no other.
    """

    ground: ErasureGround | None = None


class WithdrawErasure(Command):
    """Take the request back while nobody has confirmed it."""
