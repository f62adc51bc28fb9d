"""F36: backups from before an erasure are restored after it, and bring nothing of the person back."""

import asyncio
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from door import Door, Reply, eventually
from person import erased
from tests.erasure.backups import copied, dumped, put_back, restored, taken_back_from_the_log
from tests.erasure.doors import spoken, told_by_read_models, told_by_the_log
from tests.erasure.kept_keys import keys_of, stores_with
from tests.erasure.planted import Planted

from crm_local.errors import NotReadyError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

STORES = ("contacts", "sales")
RESTORED = (*STORES, "gateway")
NOT_COMPARED = "destroyed-keys"


async def test_no_backup_brings_back_what_was_erased(crm: Door, adapter: AIOKafkaProducer, tmp_path: Path) -> None:
    stack = crm.stack
    carol = Planted(crm, adapter)
    await carol.tells()
    assert set(spoken(carol, await _told(crm, carol))) >= carol.remembered, "before, the doors tell it all"
    keys = await keys_of(stack, carol.subjects)
    dumps = {service: await dumped(stack, service, tmp_path) for service in STORES}
    read_models = await asyncio.to_thread(copied, stack, "gateway")
    await erased(crm, carol.contact_id)
    totals = (await crm.get(f"/api/customers/{carol.contact_id}")).expect(200).body["totals"]

    for service in RESTORED:
        await asyncio.to_thread(stack.hold, service)
    for service, dump in dumps.items():
        await restored(stack, service, dump)
        await taken_back_from_the_log(stack, service)
    await asyncio.to_thread(put_back, stack, "gateway", read_models)
    assert stores_with(stack, keys) == {"an event store", "gateway's keyring"}, "the backups hold her keys"

    stack.pause("kafka")
    try:
        for service in RESTORED:
            stack.let_start(service)
            await eventually(partial(_waits_for_the_comparison, crm, service), f"{service} waits")
        assert spoken(carol, await told_by_read_models(crm, carol)) == []
    finally:
        stack.resume("kafka")
    for service in RESTORED:
        await asyncio.to_thread(stack.wait_until_ready, service)

    assert spoken(carol, await _told(crm, carol)) == []
    assert stores_with(stack, keys) == set()
    view = (await crm.get(f"/api/customers/{carol.contact_id}")).expect(200).body
    assert (view["erased"], view["totals"]) == (True, totals)
    anew = {"party": {"email": carol.words.email("email")}, "source": uuid4().hex}
    captured = (await crm.post("/api/leads", anew, role="sales")).expect(201)
    someone = await crm.customer(after=captured.position, email=carol.words.email("email"))
    assert someone["contact_id"] != carol.contact_id


async def _told(crm: Door, person: Planted) -> list[Reply]:
    return [*await told_by_read_models(crm, person), *await told_by_the_log(crm, person)]


async def _waits_for_the_comparison(crm: Door, service: str) -> bool:
    """It runs, and says that it is not ready because it has not compared its keys with the destroyed ones."""
    try:
        await crm.stack.addresses.part(service).check_ready()
    except NotReadyError as answer:
        return NOT_COMPARED in str(answer)
    raise AssertionError(f"{service} is ready before it can have compared anything")
