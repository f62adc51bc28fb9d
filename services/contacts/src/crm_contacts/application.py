"""What happens to a command: load, decide, save."""

from crm_contacts.commands import EraseContact, RegisterContact, UpdateContact, WithdrawErasure
from crm_contacts.domain import Contact
from crm_contacts.identity import Identity
from crm_events.parties import IdentifierKind, Profile
from crm_platform.work import UnitOfWork


class ContactsApplication:
    """One method per command."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def register(self, command: RegisterContact, work: UnitOfWork) -> Contact:
        named = self._identity.name(Profile.model_validate(command.given()))
        at = work.moment(command.occurred_at)
        return self._identity.register(work, named, contact_id=work.target_id, source=command.source, at=at)

    def update(self, command: UpdateContact, work: UnitOfWork) -> Contact:
        contact = work.target(Contact)
        before = work.open(contact.known_profile, Profile)
        given = command.given()
        if "identifiers" in given:
            # A source's reference is how its next word about the person is recognised; people do not edit it.
            references = tuple(i for i in before.identifiers if i.kind is IdentifierKind.REFERENCE)
            given["identifiers"] = (*command.identifiers, *references)
        after = self._identity.name(before.model_copy(update=given))
        return self._identity.change(work, contact, before, after, work.now)

    def erase(self, command: EraseContact, work: UnitOfWork) -> Contact:
        """Asked for by one person, done when the second asks for the same."""
        contact = work.target(Contact)
        contact.erase(work.actor, command.ground, work.now)
        if contact.is_erased:
            self._identity.erase(work, contact, work.now)
        return work.save(contact)

    def withdraw_erasure(self, command: WithdrawErasure, work: UnitOfWork) -> Contact:  # noqa: ARG002 - its name says all
        contact = work.target(Contact)
        contact.withdraw_erasure(work.actor, work.now)
        return work.save(contact)
