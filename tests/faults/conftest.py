"""The fault suite: one running platform, broken in every way that the rows name, and a table in the end."""

import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from crm_local.stack import Stack

HERE = Path(__file__).parent
MUTANTS = HERE / "mutants"
"""Whose tests look at the sources only."""
sys.path.insert(0, str(HERE.parent / "integration"))

from tests.faults.rig import Rig  # noqa: E402 - found beside the integration tests' words
from tests.faults.table import Table  # noqa: E402

# Brokers are killed on purpose here: what its clients say of it would bury what a failed row says.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

SEED = int(os.environ.get("CRM_FAULTS_SEED", "20261122"))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Table(SEED), "faults-table")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and MUTANTS not in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.integration)
    places = [place for place, item in enumerate(items) if item.path.parent == HERE]
    in_order = sorted((items[place] for place in places), key=lambda item: item.get_closest_marker("early") is None)
    for place, item in zip(places, in_order, strict=True):
        items[place] = item


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The whole platform, of child processes that can be killed and frozen; shared by all rows that need no other."""
    with Stack.temporary() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rig(stack: Stack) -> AsyncIterator[Rig]:
    """The platform under test, with load and the checker."""
    async with Rig.on(stack, SEED) as opened:
        yield opened
