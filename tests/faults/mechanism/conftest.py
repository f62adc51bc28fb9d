"""Parts of the platform alone, on the infrastructure of the platform under test, or on one of their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from libs.platform.tests.conftest import (
    bootstrap,
    database,
    installation,
    keys,
    log_of,
    mongo_client,
    open_store,
    postgres_uri,
    shop,
    topic,
)

from crm_local.folder import StateFolder
from crm_local.plan import Addresses
from crm_local.stack import Stack

__all__ = [
    "bootstrap",
    "database",
    "installation",
    "keys",
    "log_of",
    "mongo_client",
    "open_store",
    "postgres_uri",
    "shop",
    "topic",
]


@pytest.fixture(scope="session")
def addresses(request: pytest.FixtureRequest) -> Iterator[Addresses]:
    """Of the stack that this run has anyway."""
    lent = os.environ.get("CRM_TEST_INFRASTRUCTURE")
    if lent:
        yield Addresses.of(StateFolder(Path(lent)))
    elif any("rig" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield request.getfixturevalue("stack").addresses
    else:
        with Stack.temporary(only=["infrastructure"]) as stack:
            yield stack.addresses
