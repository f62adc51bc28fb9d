"""One stack for all stories: the whole platform on real Kafka, MongoDB and PostgreSQL."""

import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from crm_local.containers import docker_available, infrastructure_in_containers
from crm_local.folder import StateFolder
from crm_local.stack import Stack

sys.path.insert(0, str(Path(__file__).parent))

from at_rest import Accounts
from door import Door

ANSWERS_WITHIN = aiohttp.ClientTimeout(total=30)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Where a Docker engine runs, the infrastructure is the official images; else it is child processes, too."""
    if not docker_available():
        with Stack.temporary() as running:
            yield running
        return
    with tempfile.TemporaryDirectory(prefix="crm-stack-") as root:
        folder = StateFolder(Path(root))
        with infrastructure_in_containers(folder), Stack(folder.root, only=["services"]) as running:
            yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def crm(stack: Stack) -> AsyncIterator[Door]:
    async with aiohttp.ClientSession(timeout=ANSWERS_WITHIN) as session:
        yield Door(stack, session)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def accounts(stack: Stack) -> AsyncIterator[Accounts]:
    async with Accounts.open(stack) as opened:
        yield opened
