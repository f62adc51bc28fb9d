"""Waiting until what was played shows in the customer views."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

from crm_local.demo.people import contact
from crm_local.demo.script import Day
from crm_local.errors import LocalStackError
from crm_local.gateway import Gateway

_WITHIN = 300.0
_POLL = 0.5


async def all_visible(
    day: Day, ids: Mapping[str, str], gateway: Gateway, advance: Callable[[int], None], within: float = _WITHIN
) -> None:
    """Returns when each contact's view counts at least the interactions that it was given.

    Raises LocalStackError if that takes longer than `within` seconds.
    """
    expected = Counter(each.about for each in day.messages if each.about is not None)
    try:
        async with asyncio.timeout(within):
            for who, count in expected.items():
                await _visible(ids[contact(who).name], count, gateway)
                advance(count)
    except TimeoutError:
        raise LocalStackError(
            f"not everything shows after {within:.0f} s: 'crm status' and 'crm logs' say what is the matter"
        ) from None


async def _visible(contact_id: str, interactions: int, gateway: Gateway) -> None:
    while True:
        answer = await gateway.get(f"/api/customers/{contact_id}", role="service")
        if answer.body["totals"]["interactions"] >= interactions:
            return
        await asyncio.sleep(_POLL)
