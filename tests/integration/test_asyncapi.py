"""The AsyncAPI documents say what the running platform does: its groups, their topics, and what stands on a topic."""

from typing import Any
from uuid import UUID

import orjson
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.protocol.admin import DescribeGroupsRequest, DescribeGroupsRequest_v0
from door import Door, eventually
from jsonschema import Draft202012Validator
from libs.platform.tests.kafka_topics import administrator, records_of

from crm_events.schemas import schema_of
from crm_events.topics import SALES
from crm_local.asyncapi import documents
from crm_local.stack import Stack
from crm_platform import kafka
from crm_platform.partitioning import key_of

Groups = dict[str, set[str]]


def documented() -> Groups:
    """Every group and its topics."""
    found: Groups = {}
    for document in documents().values():
        for operation in document["operations"].values():
            if operation["action"] == "receive":
                group = operation["bindings"]["kafka"]["groupId"]["const"]
                found.setdefault(group, set()).add(operation["channel"]["$ref"].rpartition("/")[2])
    return found


class DescribeGroups(DescribeGroupsRequest):  # type: ignore[misc] # aiokafka is untyped
    """In the first version of the request: aiokafka 0.14 cannot read the broker's answer to the newest it sends."""

    def prepare(self, versions: dict[int, tuple[int, int]]) -> DescribeGroupsRequest_v0:  # noqa: ARG002 - the base's
        return DescribeGroupsRequest_v0(self._groups)


async def running(bootstrap: str) -> Groups:
    """The groups that have members now, with the topics that these have subscribed to; Faust's own topic aside."""
    found: Groups = {}
    async with administrator(bootstrap) as admin:
        for name, _ in await admin.list_consumer_groups():
            answer = await admin._client.send(await admin.find_coordinator(name), DescribeGroups([name]))
            ((*_, members),) = answer.groups
            for _, _, _, subscription, _ in members:
                topics = ConsumerProtocolMemberMetadata.decode(subscription).subscription
                found.setdefault(name, set()).update(topic for topic in topics if not topic.endswith("-changelog"))
    return found


async def test_the_groups_of_the_running_platform_are_the_documented_ones(stack: Stack) -> None:
    expected = documented()

    async def all_are_there() -> bool:
        return (await running(stack.addresses.kafka_bootstrap)).keys() >= expected.keys()

    await eventually(all_are_there, "every documented group has members")
    assert await running(stack.addresses.kafka_bootstrap) == expected


async def test_what_stands_on_a_topic_is_as_documented(crm: Door, stack: Stack) -> None:
    body = {"party": {"email": "iris@example.org", "name": "Iris"}, "source": "web", "message": "Please call me."}
    lead = (await crm.post("/api/leads", body, role="sales")).expect(201)
    found: list[Any] = []

    async def answered() -> bool:
        records = await records_of(stack.addresses.kafka_bootstrap, SALES)
        found[:] = [record for record in records if record.key == key_of(UUID(lead.id))]
        return len(found) == 2

    await eventually(answered, "the lead is captured and linked")
    document = documents()["sales"]
    messages, schemas = document["components"]["messages"], document["components"]["schemas"]
    for record in found:
        type_name = kafka.header(record.headers, "ce_type") or ""
        value = orjson.loads(record.value)
        assert type_name in document["channels"][SALES.name]["messages"]
        assert messages[type_name]["contentType"] == kafka.header(record.headers, "content-type")
        assert set(schemas["Headers"]["required"]) <= {name for name, _ in record.headers}
        assert {name for name, _ in record.headers} <= schemas["Headers"]["properties"].keys()
        Draft202012Validator({**schemas["Envelope"], "additionalProperties": False}).validate(value)
        Draft202012Validator(schema_of(type_name) or False).validate(value["data"])
