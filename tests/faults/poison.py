"""Who must park what: the platform's consumers, asked by topic and by event type; and the operator who resolves it."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from at_rest import POLICIES
from door import Door
from ledger import READ_MODELS

from crm_analytics.projections import Kpis
from crm_gateway.projections.customers import Customers
from crm_sales.projections.leads import Leads

CUSTOMERS, KPIS, LEADS = Customers().identity, Kpis().identity, Leads().identity
"""Read models of crm.sales that rows look at one by one."""
Lot = tuple[str, str, str]
"""(consumer, topic, key)."""
_OWNERS = {
    **{model.identity: service for service, model in READ_MODELS},
    **{policy.name: service for service, policy in POLICIES.items()},
}


def readers_of(topic: str) -> set[str]:
    """The consumers of a topic: each parks what does not prove where it comes from."""
    models = {model.identity for _, model in READ_MODELS if topic in {read.name for read in model.topics}}
    return models | {policy.name for policy in POLICIES.values() if topic in {read.name for read in policy.topics}}


def handlers_of(topic: str, type_name: str) -> set[str]:
    """The consumers of the topic that handle that event type: each parks a version of it that it cannot read."""
    models = {model.identity for _, model in READ_MODELS if type_name in _types(model.folds)}
    policies = {policy.name for policy in POLICIES.values() if type_name in _types(policy.reactions)}
    return (models | policies) & readers_of(topic)


def owner_of(consumer: str) -> str:
    """The service that runs it."""
    return _OWNERS[consumer]


def _types(events: Iterable[type[Any]]) -> set[str]:
    return {event.type_name() for event in events}


class Operator:
    """Resolves parked events through the front door."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def shown(self, lot: Lot) -> Any:
        return (await self._door.get(self._path(lot), role="admin")).expect(200).body

    async def retry(self, lot: Lot) -> Any:
        return (await self._door.post(f"{self._path(lot)}/retry", {}, role="admin")).expect(200).body

    async def discard(self, lot: Lot, *, everything: bool) -> Any:
        body = {"reason": "crafted by a test", "all": everything}
        return (await self._door.post(f"{self._path(lot)}/discard", body, role="admin")).expect(200).body

    async def discard_all(self, lots: Iterable[Lot]) -> None:
        for lot in sorted(lots):
            assert (await self.discard(lot, everything=True))["remaining"] == 0

    def _path(self, lot: Lot) -> str:
        consumer, topic, key = lot
        return f"/api/parked/{_OWNERS[consumer]}/{consumer}/{topic}/{quote(key, safe='')}"
