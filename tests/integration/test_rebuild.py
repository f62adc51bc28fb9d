"""Operators rebuild, verify and go back from the command line, while people write and read."""

import asyncio
from functools import partial
from uuid import uuid4

import pytest
from command_line import crm_command
from door import Door, eventually
from ledger import READ_MODELS

NAMES = [projection.name for _, projection in READ_MODELS]


class People:
    """They capture leads and look at them, and at their customers, without end; no answer may be an error."""

    def __init__(self, crm: Door) -> None:
        self._crm = crm
        self.leads = 0

    async def work(self) -> None:
        while True:
            email = f"{uuid4().hex}@example.org"
            lead = {"party": {"email": email, "name": "Ada Rebuilt"}, "source": "web-form"}
            captured = (await self._crm.post("/api/leads", lead, role="sales")).expect(201)
            seen = (await self._crm.get(f"/api/leads/{captured.id}", after=captured.position)).expect(200).body
            view = await self._crm.customer(after=captured.position, email=email)
            assert [each["id"] for each in view["leads"]] == [captured.id]
            assert seen["contact_id"] == view["contact_id"]
            self.leads += 1


async def _went_on(people: People, since: int, working: "asyncio.Task[None]") -> bool:
    return people.leads > since + 1 or working.done()


@pytest.mark.parametrize("name", NAMES)
async def test_each_read_model_equals_an_independent_fold_of_the_log(crm: Door, name: str) -> None:
    outcome = await crm_command(crm.stack, "verify", name)
    assert outcome.code == 0, outcome
    assert "none differs" in outcome.output


@pytest.mark.parametrize("name", ["sales.leads", "gateway.customers"])
async def test_people_notice_nothing_of_a_rebuild_and_of_going_back(crm: Door, name: str) -> None:
    people = People(crm)
    working = asyncio.create_task(people.work())
    for options, says in (
        ((), "Readers see generation"),
        (("--rollback",), "Readers see generation"),
        (("--drop",), "is dropped"),
    ):
        before = people.leads
        outcome = await crm_command(crm.stack, "rebuild", name, *options)
        assert outcome.code == 0, outcome
        assert says in outcome.output
        await eventually(partial(_went_on, people, before, working), "people work on")
        assert not working.done(), working.exception()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_what_cannot_be_rebuilt_is_refused_with_its_reason(crm: Door) -> None:
    for arguments, says in (
        (("rebuild", "sales.nothing"), "it has sales.leads, sales.opportunities"),
        (("rebuild", "nobody.leads"), "such as sales.leads"),
        (("rebuild", "sales.leads", "--drop"), "no generation before"),
        (("rebuild", "sales.leads", "--rollback"), "no generation to go back to"),
        (("rebuild", "sales.leads", "--abandon"), "nothing is being filled"),
        (("rebuild", "sales.leads", "--drop", "--abandon"), "one at a time"),
        (("verify", "sales.nothing"), "it has sales.leads, sales.opportunities"),
    ):
        outcome = await crm_command(crm.stack, *arguments)
        assert outcome.code == 1, (arguments, outcome)
        assert says in outcome.errors, (arguments, outcome)
