"""The composition root: what is not constructed here does not exist."""

from crm_contacts.api import routes
from crm_contacts.application import ContactsApplication
from crm_contacts.domain import PRIVATE_EVENTS
from crm_contacts.erasure_orders import ANSWERS_OF_CONTACT, erasure_orders
from crm_contacts.identity import Identity
from crm_contacts.interactions_eraser import interactions_eraser
from crm_contacts.policies import CollectAcknowledgements, IdentifyParties
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
        events=EventStoreDefinition(context="contacts", private=PRIVATE_EVENTS, found_by=(ANSWERS_OF_CONTACT,)),
        policies=(IdentifyParties(identity), CollectAcknowledgements()),
        projections=(Contacts(),),
        purges=(Purged(INTERACTIONS, IdentifyParties.name),),
        made_runners=(erasure_orders,),
        erasers=(interactions_eraser(identity),),
        routers=(routes(ContactsApplication(identity)),),
    )
