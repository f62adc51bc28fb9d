"""The AsyncAPI documents of all services: `python -m crm_local.asyncapi docs/asyncapi`."""

import base64
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from crm_events.adapter import InteractionRecorded
from crm_events.erasures import ErasureStepOrdered, SubjectsErased
from crm_events.topics import ERASURES, INTERACTIONS
from crm_local.services import SERVICES
from crm_platform.asyncapi import Document, Operation, asyncapi
from crm_platform.service import Service

SCHEMAS = "../../libs/events/src/crm_events/released"
"""The events' JSON Schemas, seen from `docs/asyncapi`."""
_NOWHERE = "127.0.0.1:1"
_ANY_KEY = base64.b64encode(bytes(32)).decode()
_SETTINGS = {
    "CRM_KAFKA_BOOTSTRAP": _NOWHERE,
    "CRM_MONGODB_URI": f"mongodb://{_NOWHERE}",
    "CRM_POSTGRES_URI": f"postgresql://{_NOWHERE}",
    "CRM_AUTH_JWKS": "none",
    "CRM_AUTH_ISSUER": "none",
    "CRM_AUTH_AUDIENCE": "none",
    "CRM_INSTALLATION_KEY": _ANY_KEY,
    "CRM_CURSOR_KEY": _ANY_KEY,
    "CRM_IDENTIFIER_PEPPER": _ANY_KEY,
    **{f"CRM_{name.upper()}_URL": f"http://{_NOWHERE}" for name in SERVICES},
}
"""What a service must be told to be composed; a composed service connects to nothing before it runs."""


def documents() -> dict[str, Document]:
    """The document of every service, by its name."""
    return {service.name: asyncapi(service, SCHEMAS, of_runners(service.name)) for service in composed()}


def composed() -> list[Service]:
    """Every service as its composition root makes it."""
    with _environment(_SETTINGS):
        return [import_module(f"crm_{name}.main").compose() for name in SERVICES]


def of_runners(service: str) -> list[Operation]:
    """What a service's own runners do on Kafka: orders of erasures, the gateway's door for interactions, the live
    windows' stream.
    """
    if service == "contacts":
        return [Operation("send", "contacts.erasure-orders", ERASURES, (SubjectsErased, ErasureStepOrdered))]
    if service == "gateway":
        return [Operation("send", "interaction-log", INTERACTIONS, (InteractionRecorded,))]
    if service == "analytics":
        stream, live = import_module("crm_analytics.stream"), import_module("crm_analytics.live")
        counted = {
            topic: tuple(e for e in live.COUNTED if topic.name == f"crm.{e.context}") for topic in stream.SOURCES
        }
        return [Operation("receive", stream.GROUP, topic, events) for topic, events in counted.items()]
    return []


def text_of(document: Document) -> str:
    """A document as its file holds it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def main(arguments: list[str]) -> int:
    """Write every document into the folder that is named."""
    (folder,) = map(Path, arguments)
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents().items():
        (folder / f"{name}.json").write_text(text_of(document), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
