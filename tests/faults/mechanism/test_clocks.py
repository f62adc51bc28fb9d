"""F23 at the store: the clock of the process jumps, and the events of a stream stay in order."""

from datetime import timedelta
from uuid import uuid4

import orjson
import pytest
from libs.platform.tests.shop import NotePurchase, note_purchase
from libs.platform.tests.shop_store import Shop, order

from crm_platform.testing import SOME_TIME

JUMPS = (0, 3_600, 3_590, 3_590, -3_600, 7_200)
"""Ahead by an hour, back by ten seconds, frozen, back by two hours, ahead again: seconds from the first."""


@pytest.mark.row("F23", "the clock of a service jumps by hours, back by 10 s, and stands", "I4, time never goes back")
async def test_a_clock_that_jumps_does_not_reorder_a_stream(shop: Shop) -> None:
    stream = uuid4()
    for jump in JUMPS:
        given = order(stream, now=SOME_TIME + timedelta(seconds=jump))
        await shop.store.run(note_purchase, NotePurchase(text=str(jump)), given)
    documents = [orjson.loads(row["state"]) for row in shop.stored()]
    assert [document["sequence"] for document in documents] == [str(n) for n in range(1, len(JUMPS) + 1)]
    assert [document["data"]["text"] for document in documents] == [str(jump) for jump in JUMPS]
    times = [document["time"] for document in documents]
    assert times == sorted(times)
