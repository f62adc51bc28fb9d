"""Looking now and then goes on, whatever a look has met."""

import asyncio

import pytest
from libs.platform.tests.waiting import eventually

from crm_platform.watching import watching


@pytest.mark.parametrize("met", [OSError("gone"), asyncio.CancelledError()], ids=["a failure", "a client's own end"])
async def test_it_is_looked_again_after_a_look_has_failed(met: BaseException) -> None:
    looks: list[int] = []

    async def look() -> None:
        looks.append(1)
        if len(looks) == 1:
            raise met

    before = asyncio.all_tasks()
    async with watching("something", look, 0.001):
        await eventually(lambda: len(looks) >= 3)
    assert asyncio.all_tasks() <= before, "nobody looks any more"
