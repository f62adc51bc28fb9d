"""The rows on links: the platform of the suite, with sales behind links that toxiproxy spoils.

It is there for this folder only, so that it does not run beside the platform of the other rows.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest
import pytest_asyncio
from tests.faults.conftest import SEED
from tests.faults.links.linked_rig import LinkedRig, Measured
from tests.faults.links.toxiproxy import BINARY


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def platform_on_links() -> AsyncIterator[LinkedRig]:
    if not BINARY.exists():
        pytest.skip("toxiproxy is not built: it needs Go (make toxiproxy)")
    async with AsyncExitStack() as opened:
        session = await opened.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)))
        yield await opened.enter_async_context(LinkedRig.on_links(session, SEED))


@pytest_asyncio.fixture(loop_scope="session")
async def linked(platform_on_links: LinkedRig) -> AsyncIterator[LinkedRig]:
    """The platform for one row, which leaves no link spoilt, however it ends."""
    yield platform_on_links
    await platform_on_links.toxiproxy.mend()


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    return lambda told: record_property("measured", told)
