"""Questions to the customers' records. Each costs one or two round trips, however long the history is."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec
import orjson

from crm_events.parties import Identifier
from crm_gateway.projections.campaigns import CampaignRecord, EngagementRecord, EnrolmentRecord
from crm_gateway.projections.leads import LeadRecord
from crm_gateway.projections.opportunities import OpportunityRecord
from crm_gateway.projections.parties import PartyLink
from crm_gateway.projections.profile import CustomerProfile
from crm_gateway.projections.tickets import TicketRecord, TicketReply
from crm_gateway.projections.timeline import TimelineEntry
from crm_gateway.projections.totals import CustomerTotals
from crm_gateway.view import CustomerRecords, OpenedBlocks
from crm_platform.errors import NotFound
from crm_platform.identifiers import BlindIndexer
from crm_platform.projection import Document
from crm_platform.read_model import ReadModel
from crm_platform.sealing import SealedBlock

D = TypeVar("D", bound=Document)

RELATED_SHOWN = 200
"""Of leads and tickets together, of campaigns, and of engagements: the newest this many belong to a view."""


class TimelinePosition(NamedTuple):
    """Where a page of a timeline ended; the next one begins after it."""

    occurred_at: datetime
    id: str


async def customer_records(customers: ReadModel, contact_id: str, timeline_limit: int) -> CustomerRecords:
    """All records of a customer, with the first `timeline_limit` of the timeline and one more. Raises NotFound."""
    first = _Selection(customers)
    first.add(CustomerProfile, {"_id": contact_id})
    first.add(TimelineEntry, {"contact_id": contact_id}, newest_by="occurred_at", limit=timeline_limit + 1)
    first.add(CustomerTotals, {"contact_id": contact_id})
    first.add(PartyLink, {"contact_id": contact_id}, newest_by="answered_at", limit=RELATED_SHOWN + 1)
    first.add(EnrolmentRecord, {"contact_id": contact_id}, newest_by="enrolled_at", limit=RELATED_SHOWN + 1)
    first.add(EngagementRecord, {"contact_id": contact_id}, newest_by="occurred_at", limit=RELATED_SHOWN + 1)
    own = await first.read()
    if own.empty:
        raise NotFound(f"There is no customer {contact_id}.")

    links, enrolments, engagements = own.of(PartyLink), own.of(EnrolmentRecord), own.of(EngagementRecord)
    shown = links[:RELATED_SHOWN]
    leads = [link.cause_id for link in shown if link.cause == "lead"]
    tickets = [link.cause_id for link in shown if link.cause == "ticket"]
    campaigns = {enrolment.campaign_id for enrolment in enrolments} | {answer.campaign_id for answer in engagements}

    second = _Selection(customers)
    second.add_any(LeadRecord, "_id", leads)
    second.add_any(OpportunityRecord, "lead_id", leads)
    second.add_any(TicketRecord, "_id", tickets)
    second.add_any(TicketReply, "ticket_id", tickets, newest_by="occurred_at", limit=timeline_limit + 1)
    second.add_any(CampaignRecord, "_id", campaigns)
    joined = await second.read()

    return CustomerRecords(
        contact_id=contact_id,
        profile=next(iter(own.of(CustomerProfile)), None),
        timeline=own.of(TimelineEntry),
        totals=own.of(CustomerTotals),
        enrolments=enrolments[:RELATED_SHOWN],
        engagements=engagements[:RELATED_SHOWN],
        leads=joined.of(LeadRecord),
        opportunities=joined.of(OpportunityRecord),
        tickets=joined.of(TicketRecord),
        replies=joined.of(TicketReply),
        campaigns=joined.of(CampaignRecord),
        complete=max(len(links), len(enrolments), len(engagements)) <= RELATED_SHOWN,
    )


async def timeline_records(
    customers: ReadModel, contact_id: str, after: TimelinePosition | None, limit: int
) -> CustomerRecords:
    """The next `limit` records of a customer's timeline after a position (None: from its start), and one more.

    Raises NotFound.
    """
    further = _before(after) if after else {}
    first = _Selection(customers)
    first.add(CustomerProfile, {"_id": contact_id})
    first.add(EnrolmentRecord, {"contact_id": contact_id}, newest_by="enrolled_at", limit=1)
    first.add(PartyLink, {"contact_id": contact_id}, newest_by="answered_at", limit=RELATED_SHOWN)
    first.add(TimelineEntry, {"contact_id": contact_id, **further}, newest_by="occurred_at", limit=limit + 1)
    own = await first.read()
    if own.empty:
        raise NotFound(f"There is no customer {contact_id}.")
    tickets = [link.cause_id for link in own.of(PartyLink) if link.cause == "ticket"]
    second = _Selection(customers)
    second.add_any(TicketReply, "ticket_id", tickets, further, newest_by="occurred_at", limit=limit + 1)
    joined = await second.read()
    return CustomerRecords(contact_id=contact_id, timeline=own.of(TimelineEntry), replies=joined.of(TicketReply))


async def contact_with(customers: ReadModel, identifier: Identifier, indexer: BlindIndexer) -> str:
    """The id of the contact with that identifier. Raises NotFound, or NotAnIdentifier if it is not well formed."""
    index = str(indexer.index(indexer.normal(identifier)))
    found = await customers.find(CustomerProfile, {"identifiers": index}, sort=(("updated_at", -1),), limit=1)
    if not found:
        raise NotFound(f"There is no customer with that {identifier.kind.value}.")
    return found[0].id


async def wait_for_contacts(customers: ReadModel, positions: Iterable[str]) -> None:
    """Wait for the contacts of the interactions and answers that a client waits for. Raises Unavailable after 5 s.

    A contact comes in a partition of its own, so it may arrive just after the interaction that made it known.
    """
    streams = [stream for stream, _, _ in (position.rpartition("@") for position in positions) if "/" not in stream]
    if not streams:
        return
    waited_for = _Selection(customers)
    waited_for.add_any(TimelineEntry, "_id", streams)
    waited_for.add_any(PartyLink, "_id", streams)
    found = await waited_for.read()
    contacts = {entry.contact_id for entry in found.of(TimelineEntry)} | {
        link.contact_id for link in found.of(PartyLink) if link.contact_id
    }
    await customers.wait_for([f"{contact}@1" for contact in contacts])


async def opened_blocks(customers: ReadModel, records: CustomerRecords) -> OpenedBlocks:
    """The records' personal blocks in the clear, with one look-up of keys."""
    blocks: list[SealedBlock | None] = list(records.blocks())
    opened = await customers.open_all_json(blocks)
    return OpenedBlocks(
        {block.event: orjson.loads(json) for block, json in zip(blocks, opened, strict=True) if block and json}
    )


def _before(position: TimelinePosition) -> dict[str, Any]:
    """What stands further down the timeline; the plain bound lets the index begin at the right place."""
    return {
        "occurred_at": {"$lte": position.occurred_at},
        "$or": [{"occurred_at": {"$lt": position.occurred_at}}, {"_id": {"$lt": position.id}}],
    }


class _Found:
    """Records of several kinds, each kind in the order in which it was asked for."""

    def __init__(self, by_kind: Mapping[str, list[Document]]) -> None:
        self._by_kind = by_kind

    @property
    def empty(self) -> bool:
        return not self._by_kind

    def of(self, kind: type[D]) -> list[D]:
        return self._by_kind.get(kind.collection, [])  # type: ignore[return-value] # made from that kind below


class _Selection:
    """Records of several kinds, read in one round trip. Their instants are UTC, without a time zone."""

    def __init__(self, customers: ReadModel) -> None:
        self._customers = customers
        self._kinds: dict[str, Any] = {}
        self._pipelines: list[tuple[type[Document], list[dict[str, Any]]]] = []

    def add(
        self, kind: type[Document], where: Mapping[str, Any], *, newest_by: str | None = None, limit: int = 0
    ) -> None:
        pipeline: list[dict[str, Any]] = [{"$match": dict(where)}]
        if newest_by:
            pipeline += [{"$sort": {newest_by: -1, "_id": -1}}, {"$limit": limit}]
        pipeline.append({"$set": {_KIND: kind.collection}})
        self._kinds[kind.collection] = list[kind]  # type: ignore[valid-type] # read by msgspec
        self._pipelines.append((kind, pipeline))

    def add_any(
        self,
        kind: type[Document],
        field: str,
        values: Iterable[str],
        where: Mapping[str, Any] | None = None,
        *,
        newest_by: str | None = None,
        limit: int = 0,
    ) -> None:
        """The records whose field is one of the values; without values there is nothing to ask."""
        if wanted := list(values):
            self.add(kind, {field: {"$in": wanted}, **(where or {})}, newest_by=newest_by, limit=limit)

    async def read(self) -> _Found:
        if not self._pipelines:
            return _Found({})
        (first, pipeline), *others = self._pipelines
        unions = [
            {"$unionWith": {"coll": self._customers.collection_name(kind), "pipeline": steps}} for kind, steps in others
        ]
        rows = defaultdict[str, list[dict[str, Any]]](list)
        for row in await self._customers.aggregate(first, [*pipeline, *unions]):
            row["id"] = row["_id"]
            rows[row[_KIND]].append(row)
        return _Found({kind: msgspec.convert(of_kind, self._kinds[kind]) for kind, of_kind in rows.items()})


_KIND = "_kind"
