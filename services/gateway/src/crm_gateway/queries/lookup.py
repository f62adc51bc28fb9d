"""Who a customer is, by an identifier, and which customers a client waits for."""

from collections.abc import Iterable

from crm_events.parties import Identifier
from crm_gateway.projections.parties import PartyLink
from crm_gateway.projections.profile import CustomerProfile
from crm_gateway.projections.timeline import TimelineEntry
from crm_gateway.queries.selection import LiveRecords, Wanted
from crm_platform.errors import NotFound
from crm_platform.identifiers import BlindIndexer
from crm_platform.read_model import ReadModel


async def contact_with(customers: ReadModel, identifier: Identifier, indexer: BlindIndexer) -> str:
    """The id of the contact with that identifier. Raises NotFound, or NotAnIdentifier if it is not well formed."""
    index = str(indexer.index(indexer.normal(identifier)))
    found = await customers.find(CustomerProfile, {"identifiers": index}, sort=(("updated_at", -1),), limit=1)
    if not found:
        raise NotFound(f"There is no customer with that {identifier.kind.value}.")
    return found[0].id


async def contacts_waited_for(customers: ReadModel, positions: Iterable[str]) -> list[str]:
    """The contacts, as tokens to wait for, of the interactions and answers that a client waits for.

    A contact comes in a partition of its own, so it may arrive just after the interaction that made it known.
    """
    streams = [stream for stream, _, _ in (position.rpartition("@") for position in positions) if "/" not in stream]
    found = await LiveRecords(customers).select(
        Wanted(TimelineEntry, "_id", streams), Wanted(PartyLink, "_id", streams)
    )
    contacts = {entry.contact_id for entry in found.of(TimelineEntry)} | {
        link.contact_id for link in found.of(PartyLink) if link.contact_id
    }
    return [f"{contact}@1" for contact in contacts]
