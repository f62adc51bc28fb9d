"""The read model of tickets, filled from a topic: by the platform's projector, by a loop of upserts, or in memory."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import orjson
from aiokafka import ConsumerRecord
from pymongo import UpdateOne

from benchmarks import parts, topics
from benchmarks.comparison import Run
from benchmarks.site import Site
from crm_events.topics import Topic
from crm_platform import mongo
from crm_platform.projection import Document, Place, Projection
from crm_service.projections import TicketRow, Tickets

_POLL = 0.005


_VERSIONS = count(1_000)


def new_version() -> int:
    """A version of the read model that was never built before: its consumer group knows no other topic."""
    return next(_VERSIONS)


def tickets_from(topic: Topic, number: int) -> Projection:
    """The read model of tickets in that version, fed by that topic."""

    class Rebuilt(Tickets):
        version, topics = number, (topic,)

    return Rebuilt()


async def project(site: Site, database: mongo.Database, projection: Projection, records: int) -> Run:
    """Run the platform's projector over the topic from its beginning, until it has applied that many records."""
    projector = parts.TimedProjector(projection, database, site.bootstrap)
    running = asyncio.create_task(projector.run())
    cpu = site.cpu(os.getpid())
    try:
        while projector.records < records:
            if running.done():
                running.result()
            await asyncio.sleep(_POLL)
        return Run(projector.records, projector.seconds, cpu.seconds())
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def fold(topic: Topic, records: Sequence[ConsumerRecord]) -> Run:
    """Decode and fold records that were read from the topic before, into documents that are kept in memory.

    No Kafka and no database take part: only the processor does.
    """
    return await asyncio.to_thread(_folded, tickets_from(topic, new_version()), records)


def _folded(projection: Projection, records: Sequence[ConsumerRecord]) -> Run:
    reader, documents = parts.reader(projection), dict[str, Document]()
    began, cpu = time.perf_counter(), time.thread_time()
    for record in records:
        event = reader.read(record).event
        assert event is not None  # noqa: S101 - the read model handles all that happens to tickets
        for step in projection.folds[type(event.data)]:
            key = step.key(event, Place(record.topic, record.partition))
            documents[key] = projection.apply(step, documents.get(key), event)
    assert all(isinstance(each, TicketRow) for each in documents.values())  # noqa: S101 - one document a ticket
    return Run(len(records), time.perf_counter() - began, time.thread_time() - cpu)


async def upsert(site: Site, database: mongo.Database, topic: Topic, *, whole: bool) -> Run:
    """The same topic by a bare consumer: one `UpdateOne(upsert)` for each event, a bulk for each batch.

    It sets the `whole` document as it is after the event, or only the fields that the event changes.
    """
    for index in TicketRow.indexes:
        await database["upserts"].create_index(list(index.fields))
    cpu, began, records = site.cpu(os.getpid()), 0.0, 0
    documents: dict[str, dict[str, Any]] = {}
    async for batch in topics.batches(site.bootstrap, topic):
        began = began or time.perf_counter()
        await database["upserts"].bulk_write([_upsert(record, documents, whole=whole) for record in batch])
        records += len(batch)
    return Run(records, time.perf_counter() - began, cpu.seconds())


def _upsert(record: ConsumerRecord, documents: dict[str, dict[str, Any]], *, whole: bool) -> UpdateOne:
    event = orjson.loads(record.value)
    id_: str = event["subject"]
    changes = {"version": int(event["sequence"]), "changed_at": event["time"], **_changes(event["type"], event["data"])}
    if whole:
        changes = documents[id_] = {**documents.get(id_, {}), **changes}
    return UpdateOne({"_id": id_}, {"$set": changes}, upsert=True)


def _changes(type_name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that an event sets."""
    match type_name:
        case "crm.service.TicketOpened.v1":
            opened = {name: data[name] for name in ("channel", "priority", "request")}
            return {**opened, "status": "open", "opened_at": data["occurred_at"]}
        case "crm.service.TicketLinked.v1":
            return {"contact_id": data["contact_id"]}
        case "crm.service.TicketAssigned.v1":
            return {"agent": data["agent"]}
        case "crm.service.TicketResolved.v1":
            return {"status": "resolved", "resolved_at": data["occurred_at"], "note": data.get("note")}
        case _:
            return {"status": "open", "resolved_at": None, "note": data.get("note")}
