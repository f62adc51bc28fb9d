"""The composition root: what is not constructed here does not exist."""

from crm_contacts.api import routes
from crm_contacts.application import ContactsApplication
from crm_contacts.domain import PRIVATE_EVENTS
from crm_contacts.identity import Identity
from crm_contacts.policies import IdentifyParties
from crm_contacts.projections import Contacts
from crm_contacts.settings import ContactsSettings
from crm_events.topics import INTERACTIONS
from crm_platform.identifiers import BlindIndexer
from crm_platform.purge import Purged
from crm_platform.service import EventStoreDefinition, Service


def compose() -> Service:
    settings = ContactsSettings()
    identity = Identity(BlindIndexer(settings.identifier_pepper.get_secret_value(), settings.phone_region))
    return Service(
        name="contacts",
        settings=settings,
        events=EventStoreDefinition(context="contacts", private=PRIVATE_EVENTS),
        policies=(IdentifyParties(identity),),
        projections=(Contacts(),),
        purges=(Purged(INTERACTIONS, IdentifyParties.name),),
        routers=(routes(ContactsApplication(identity)),),
    )
