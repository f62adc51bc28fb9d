"""The AsyncAPI documents are valid, up to date, and say what the composed services do."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from xstate_statemachine.eda import load_asyncapi_schema  # it carries the AsyncAPI initiative's own JSON Schema

from crm_events import EVENTS
from crm_events.erasures import ErasureStepTaken
from crm_events.schemas import schemas
from crm_events.topics import TOPICS
from crm_local.asyncapi import composed, documents, text_of
from crm_local.services import SERVICES
from crm_platform.asyncapi import SUBJECT_KEY
from crm_platform.topics import settings_of

TAKEN = ErasureStepTaken.type_name()
"""Every service answers an erasure; any other event is sent by one."""
FOLDER = Path(__file__).parents[3] / "docs" / "asyncapi"
DOCUMENTS = documents()
every_document = pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
VALIDATOR = Draft7Validator(load_asyncapi_schema())


def operations(document: dict[str, Any], action: str) -> dict[tuple[str, str], set[str]]:
    """Event types by topic and group; by topic alone of what is sent."""
    return {
        (operation["channel"]["$ref"].rpartition("/")[2], group_of(operation)): {
            message["$ref"].rpartition("/")[2] for message in operation["messages"]
        }
        for operation in document["operations"].values()
        if operation["action"] == action
    }


def group_of(operation: dict[str, Any]) -> str:
    group: str = operation.get("bindings", {}).get("kafka", {}).get("groupId", {}).get("const", "")
    return group


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return [*own, *(found for inner in part.values() for found in references(inner))]
    return [found for inner in part for found in references(inner)] if isinstance(part, list) else []


def test_every_service_has_a_document_and_none_is_left_over() -> None:
    assert tuple(DOCUMENTS) == SERVICES
    assert {file.stem for file in FOLDER.glob("*.json")} == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_the_document_is_up_to_date(service: str) -> None:
    assert (FOLDER / f"{service}.json").read_text(encoding="utf-8") == text_of(DOCUMENTS[service]), (
        f"docs/asyncapi/{service}.json is stale: run make events"
    )


@every_document
def test_the_document_is_valid_asyncapi(document: dict[str, Any]) -> None:
    assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(document)] == []


@every_document
def test_a_wrong_document_would_not_be(document: dict[str, Any]) -> None:
    wrong = json.loads(json.dumps(document))
    wrong["operations"][next(iter(wrong["operations"]))]["action"] = "overhear"

    assert not VALIDATOR.is_valid(wrong)


@every_document
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = references(document)

    assert found
    for reference in found:
        file, _, pointer = reference.partition("#")
        part: Any = document
        for step in pointer.strip("/").split("/") if pointer else ():
            part = part[step]
        assert not file or (FOLDER / file).is_file(), reference


@every_document
def test_channels_are_the_topics_as_they_are_declared(document: dict[str, Any]) -> None:
    declared = {topic.name: topic for topic in TOPICS}

    for name, channel in document["channels"].items():
        topic, kafka = declared[name], channel["bindings"]["kafka"]
        assert (channel["address"], kafka["topic"], kafka["partitions"]) == (name, name, topic.partitions)
        for setting, value in kafka["topicConfiguration"].items():
            assert settings_of(topic)[setting] == (value[0] if isinstance(value, list) else str(value))


@pytest.mark.parametrize("service", composed(), ids=lambda service: service.name)
def test_what_a_service_receives_is_what_its_projections_and_policies_handle(service: Any) -> None:
    received = operations(DOCUMENTS[service.name], "receive")
    readers = {projection.identity: (projection.topics, projection.folds) for projection in service.read_models}
    readers |= {policy.name: (policy.topics, policy.reactions) for policy in service.reactions}

    for group, (topics, handled) in readers.items():
        of_group = {topic: types for (topic, reader), types in received.items() if reader == group}
        assert of_group.keys() == {topic.name for topic in topics}
        assert set().union(*of_group.values()) == {event.type_name() for event in handled}
    others = {group for _, group in received} - readers.keys()
    assert others - {"crm-analytics-live"} == {f"{service.name}.keyring"}


def test_every_event_is_sent_by_one_service_and_has_a_schema() -> None:
    sent = [types for document in DOCUMENTS.values() for (topic, _), types in operations(document, "send").items()]
    events = [name for types in sent for name in types if name not in (SUBJECT_KEY, TAKEN)] + [TAKEN]

    # What adapters other than the gateway's door write, nobody here sends.
    assert sorted([*events, "crm.interactions.PersonDescribed.v1"]) == sorted(event.type_name() for event in EVENTS)
    assert set(events) <= set(schemas())
