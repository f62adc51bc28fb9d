"""One stack for all stories: the whole platform on real Kafka, MongoDB and PostgreSQL."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from crm_local.stack import Stack

sys.path.insert(0, str(Path(__file__).parent))

from door import Door

ANSWERS_WITHIN = aiohttp.ClientTimeout(total=30)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with Stack.temporary() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def crm(stack: Stack) -> AsyncIterator[Door]:
    async with aiohttp.ClientSession(timeout=ANSWERS_WITHIN) as session:
        yield Door(stack, session)
