"""From identifiers to contacts: finds the contact a party names, or registers one, once."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID, uuid5

from crm_contacts.domain import Contact, IdentifierOwner
from crm_events.event import Instant
from crm_events.parties import MAX_IDENTIFIERS, Identifier, IdentifierIndex, IdentifierKind, Party, Profile
from crm_platform.errors import NotFound
from crm_platform.identifiers import BlindIndexer
from crm_platform.sealing import KeyErased
from crm_platform.work import UnitOfWork

CONTACT_NAMESPACE = UUID("2b6bd5a0-7c0e-5f0c-a7a6-0f2f8a3f9c44")


class NoSuchContact(NotFound):
    code = "no-such-contact"


class PersonErased(NotFound):
    """It is about a person who was erased after it happened."""

    status, code, title = 410, "person-erased", "The person is erased"


class Named(NamedTuple):
    """A party as identity sees it: what is known of it, and the blind indexes of its identifiers, strongest first."""

    profile: Profile
    indexes: tuple[IdentifierIndex, ...]


def contact_id_for(cause: UUID) -> UUID:
    """The id of a contact that is registered because of an event or command: the same however often it is tried."""
    return uuid5(CONTACT_NAMESPACE, str(cause))


def reference(source: str, kind: str, external_id: str) -> Identifier:
    """What a party is known by that has nothing but a name: where it came from."""
    return Identifier(kind=IdentifierKind.REFERENCE, value=f"{source}#{kind}/{external_id}"[:320])


class Identity:
    """Owns the rules of who is who. An identifier is compared in its normal form, through its blind index."""

    def __init__(self, indexer: BlindIndexer) -> None:
        self._indexer = indexer

    def name(self, profile: Profile) -> Named:
        """The profile with normal identifiers, each once, and their blind indexes. Raises NotAnIdentifier."""
        normal = tuple(dict.fromkeys(map(self._indexer.normal, profile.identifiers)))
        return Named(profile.model_copy(update={"identifiers": normal}), self._indexer.index_all(normal))

    def party(self, party: Party, fallback: Identifier) -> Named:
        """A party by its identifiers; one with a name only is known by where it came from, never by the name."""
        identifiers = party.identifiers()
        if not identifiers and party.contact_id is None:
            identifiers = (fallback,)
        return self.name(Profile(name=party.name, identifiers=identifiers))

    def find_or_register(
        self,
        work: UnitOfWork,
        named: Named,
        *,
        contact_id: UUID | None,
        new_id: UUID,
        source: str,
        happened: Instant,
    ) -> UUID:
        """The contact that a party is, of a fact that `happened` then.

        A contact id decides if there is such a contact; then the strongest identifier that is known; else a contact is
        registered. Identifiers that belong to nobody yet become the contact's. Raises NoSuchContact where an unknown
        contact id is all that was said, and PersonErased where anybody whom it names was erased after it happened:
        whoever says it once more brings nobody back, and has nothing of an erased person put down to somebody else.

        All of it happens when it is found out, however long ago the fact was that named the party.
        """
        work.unless_erased()
        given = work.load(Contact, contact_id) if contact_id else None
        owners = [work.load(IdentifierOwner, i.index) for i in named.indexes]
        anybody: list[IdentifierOwner | Contact] = [*owners, given] if given else [*owners]
        if any(each.was_erased_since(happened) for each in anybody):
            raise PersonErased("A person whom it names was erased after it happened; it is not taken in again.")
        found = given.id if given and given.is_known else _first_owner(owners)
        if found is None:
            if not named.indexes:
                raise _nobody(contact_id, given)
            return self.register(work, named, contact_id=new_id, source=source, at=work.now).id
        unowned = [owner.id for owner in owners if owner.contact_id is None]
        if unowned:
            self._attach(work, found, named, unowned, work.now)
        return found

    def register(self, work: UnitOfWork, named: Named, *, contact_id: UUID, source: str, at: Instant) -> Contact:
        """A new contact with its identifiers; raises AlreadyTaken if one of them belongs to another contact."""
        contact = work.load(Contact, contact_id)
        for index in named.indexes:
            owner = work.load(IdentifierOwner, index.index)
            owner.claim(contact.id, at)
            work.save(owner)
        contact.register(source, named.profile, named.indexes, at)
        return work.save(contact)

    @staticmethod
    def erase(work: UnitOfWork, contact: Contact, at: Instant) -> None:
        """The contact's identifiers belong to nobody any more, and its key is destroyed with the work.

        Doing it again changes nothing.
        """
        for index in sorted(contact.ever_identified_by):
            owner = work.load(IdentifierOwner, index)
            owner.erase(contact.id, at)
            work.save(owner)
        work.destroy_key(contact.id)

    def change(self, work: UnitOfWork, contact: Contact, before: Profile, after: Named, at: Instant) -> Contact:
        """The contact with another profile: new identifiers are claimed, the ones no longer named are released."""
        kept = {i.index for i in after.indexes}
        for index in after.indexes:
            owner = work.load(IdentifierOwner, index.index)
            owner.claim(contact.id, at)
            work.save(owner)
        for index in contact.identifiers:
            if index.index not in kept:
                owner = work.load(IdentifierOwner, index.index)
                owner.release(contact.id, at)
                work.save(owner)
        contact.update(before, after.profile, after.indexes, at)
        return work.save(contact)

    def _attach(self, work: UnitOfWork, contact_id: UUID, named: Named, unowned: Sequence[UUID], at: Instant) -> None:
        """Give the contact these identifiers, which belong to nobody; they were used together with one of its own."""
        contact = work.get(Contact, contact_id)
        try:
            before = work.open(contact.known_profile, Profile)
        except KeyErased:
            return
        room = MAX_IDENTIFIERS - len(before.identifiers)
        free = unowned[: max(0, room)]
        added = [
            identifier
            for identifier, index in zip(named.profile.identifiers, named.indexes, strict=True)
            if index.index in free
        ]
        after = self.name(_merged(before, named.profile, added))
        self.change(work, contact, before, after, at)


def _first_owner(owners: Iterable[IdentifierOwner]) -> UUID | None:
    return next((owner.contact_id for owner in owners if owner.contact_id), None)


def _nobody(contact_id: UUID | None, given: Contact | None) -> NotFound:
    """Why a party that names nothing but a contact's id is nobody."""
    if given and given.is_erased:
        return PersonErased(f"The contact {contact_id} is erased.")
    return NoSuchContact(f"There is no contact {contact_id}.")


def _merged(before: Profile, said: Profile, added: Iterable[Identifier]) -> Profile:
    """The profile with more identifiers; what was not known before is filled in, nothing known is overwritten."""
    missing = {
        name: getattr(said, name)
        for name in Profile.model_fields
        if name != "identifiers" and not getattr(before, name) and getattr(said, name)
    }
    return before.model_copy(update={**missing, "identifiers": (*before.identifiers, *added)})
