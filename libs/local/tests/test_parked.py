"""`crm parked` against a gateway that is a real HTTP server with parked events of the contract."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from crm_local.cli import app
from crm_local.credentials import create_credentials
from crm_local.folder import StateFolder
from crm_local.plan import PORT_NAMES
from crm_local.ports import HOST
from crm_local.process import ProcessIdentity
from crm_local.state import Phase, StackRecord, write_record

LEADS, LINKS, CUSTOMERS = "sales.leads.v1", "sales.link-leads", "gateway.customers.v1"
ODD_KEY = "mail/[m]-1 ü"


def parked(consumer: str, key: str, count: int, reason: str) -> dict[str, Any]:
    return {
        "consumer": consumer,
        "topic": "crm.sales",
        "partition": 3,
        "key": key,
        "events": count,
        "position": 41,
        "event_id": "e-1",
        "event_type": "crm.sales.LeadCaptured.v2",
        "reason": reason,
        "parked_at": "2026-03-02T09:30:00+00:00",
    }


@dataclass
class ParkingGateway:
    """Keeps parked keys as the services do, and remembers what it was asked to do with them."""

    lots: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    stubborn: set[str] = field(default_factory=set)
    loses_answers: bool = False
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        service, *steps = request.match_info["path"].split("/", 1)
        self.asked.append(
            (f"{request.method} {request.raw_path}", await request.json() if request.can_read_body else None)
        )
        if service in self.silent:
            return web.json_response(
                {"title": "It is away", "detail": "Try again."}, status=503, headers={"Retry-After": "0"}
            )
        lot = self.lots.get(service, [])
        if not steps:
            return web.json_response({"items": lot})
        consumer, topic, key = steps[0].split("/", 2)
        key, _, action = key.rpartition("/") if request.method == "POST" else (key, "", "")
        entry = next((e for e in lot if (e["consumer"], e["topic"], e["key"]) == (consumer, topic, key)), None)
        if entry is None:
            return web.json_response({"title": "Not there", "detail": f"Nothing of {key}."}, status=404)
        if action == "retry":
            return self._retry(lot, entry)
        if action == "discard":
            done = self._discard(lot, entry, (await request.json())["all"])
            return web.json_response({"title": "Lost"}, status=503) if self.loses_answers else done
        return web.json_response({**entry, "events": [self._event(entry, n) for n in range(entry["events"])]})

    def _retry(self, lot: list[dict[str, Any]], entry: dict[str, Any]) -> web.Response:
        if entry["key"] in self.stubborn:
            return web.json_response({"applied": 0, "remaining": entry["events"], "reason": entry["reason"]})
        lot.remove(entry)
        return web.json_response({"applied": entry["events"], "remaining": 0, "reason": None})

    def _discard(self, lot: list[dict[str, Any]], entry: dict[str, Any], everything: bool) -> web.Response:
        given_up = entry["events"] if everything else 1
        entry["events"] -= given_up
        if not entry["events"]:
            lot.remove(entry)
        return web.json_response({"discarded": given_up, "remaining": entry["events"]})

    def _event(self, entry: dict[str, Any], n: int) -> dict[str, Any]:
        return {
            "offset": 100 + n,
            "position": 41 + n,
            "event_id": f"e-{n + 1}",
            "event_type": entry["event_type"] if n == 0 else None,
            "parked_at": entry["parked_at"],
            "reason": entry["reason"] if n == 0 else None,
            "record": {"subject": entry["key"]} if n == 0 else None,
            "raw": None if n == 0 else "bm8ganNvbg==",
        }


@pytest_asyncio.fixture
async def gateway(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ParkingGateway]:
    """A gateway that answers as the running stack's."""
    parking = ParkingGateway()
    application = web.Application()
    application.router.add_route("*", "/api/parked/{path:.*}", parking.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    folder.ports.write_text(json.dumps(dict.fromkeys(PORT_NAMES, runner.addresses[0][1])))
    create_credentials(folder, ())
    write_record(folder, StackRecord(supervisor=ProcessIdentity.of(os.getpid()), phase=Phase.RUNNING, parts={}))
    monkeypatch.setenv("CRM_LOCAL_DIR", str(folder.root))
    monkeypatch.setenv("COLUMNS", "200")
    yield parking
    await runner.cleanup()


@dataclass
class Said:
    code: int
    out: str
    err: str


Crm = Callable[..., Awaitable[Said]]


@pytest.fixture
def crm(capsys: pytest.CaptureFixture[str]) -> Crm:
    """Runs a command beside the gateway, and gives what it said."""

    def run(arguments: tuple[str, ...]) -> int:
        with pytest.raises(SystemExit) as end:
            app(["parked", *arguments])
        return int(end.value.code or 0)

    async def crm(*arguments: str) -> Said:
        code = await asyncio.to_thread(run, arguments)
        return Said(code, *capsys.readouterr())

    return crm


@pytest.fixture
def filled(gateway: ParkingGateway) -> ParkingGateway:
    gateway.lots = {
        "sales": [
            parked(LEADS, "lead-1", 3, "KeyError in sales.leads.v1"),
            parked(LINKS, ODD_KEY, 1, "No [such] party"),
        ],
        "gateway": [parked(CUSTOMERS, "lead-1", 2, "KeyError in gateway.customers.v1")],
    }
    return gateway


async def test_the_keys_of_all_services_are_listed_whole_on_a_terminal_of_any_width(
    filled: ParkingGateway, crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    said = await crm("list")

    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[::2] == [f"sales/{LEADS} lead-1", f"sales/{LINKS} {ODD_KEY}", f"gateway/{CUSTOMERS} lead-1"]
    assert [line.split(",")[0] for line in lines[1::2]] == ["  3 events", "  1 event", "  2 events"]
    assert lines[3].endswith(": No [such] party")
    assert {path for path, _ in filled.asked} == {
        f"GET /api/parked/{service}"
        for service in ("contacts", "sales", "service", "marketing", "analytics", "gateway")
    }


async def test_a_list_for_programs(filled: ParkingGateway, crm: Crm) -> None:  # noqa: ARG001 - it is asked
    said = await crm("list", "--json", "--service", "sales", "--consumer", LINKS)

    (item,) = json.loads(said.out)["items"]
    assert (item["service"], item["consumer"], item["key"], item["events"]) == ("sales", LINKS, ODD_KEY, 1)


async def test_a_service_that_does_not_answer_is_named_and_the_others_are_listed(
    filled: ParkingGateway, crm: Crm
) -> None:
    filled.silent = {"gateway"}

    said = await crm("list")

    assert said.code == 1
    assert "lead-1" in said.out
    assert "gateway did not tell: GET /api/parked/gateway was refused with 503" in said.err


async def test_nothing_parked_is_said(gateway: ParkingGateway, crm: Crm) -> None:  # noqa: ARG001 - it is asked
    said = await crm("list")
    assert (said.code, said.out) == (0, "Nothing is parked.\n")


async def test_what_waits_of_a_key_is_shown_in_order(filled: ParkingGateway, crm: Crm) -> None:  # noqa: ARG001
    said = await crm("show", "lead-1", "--service", "sales")

    assert said.code == 0
    assert "sales/sales.leads.v1 lead-1 on crm.sales: 3 waiting" in said.out
    assert said.out.index("e-1") < said.out.index("e-2") < said.out.index("e-3")
    assert "KeyError in sales.leads.v1" in said.out
    assert '"subject": "lead-1"' in said.out
    assert "base64: bm8ganNvbg==" in said.out


async def test_a_key_is_retried_where_it_is_parked(filled: ParkingGateway, crm: Crm) -> None:
    said = await crm("retry", ODD_KEY)

    assert (said.code, said.out) == (0, f"sales/{LINKS} {ODD_KEY}: 1 applied\n")
    assert filled.asked[-1][0] == f"POST /api/parked/sales/{LINKS}/crm.sales/mail%2F%5Bm%5D-1%20%C3%BC/retry"


async def test_a_key_that_several_have_parked_is_retried_at_each_or_at_the_one_that_is_named(
    filled: ParkingGateway, crm: Crm
) -> None:
    assert (await crm("retry", "lead-1", "--consumer", CUSTOMERS)).out == f"gateway/{CUSTOMERS} lead-1: 2 applied\n"
    filled.lots["gateway"] = [parked(CUSTOMERS, "lead-1", 2, "KeyError")]
    said = await crm("retry", "lead-1")

    assert (said.code, said.out) == (0, f"sales/{LEADS} lead-1: 3 applied\ngateway/{CUSTOMERS} lead-1: 2 applied\n")


async def test_a_key_that_several_have_parked_is_shown_as_each_has_it(filled: ParkingGateway, crm: Crm) -> None:  # noqa: ARG001
    said = await crm("show", "lead-1")

    assert said.out.index(f"sales/{LEADS} lead-1 on crm.sales: 3") < said.out.index(f"gateway/{CUSTOMERS} lead-1 on")
    items = json.loads((await crm("show", "lead-1", "--json")).out)["items"]
    assert [(item["consumer"], len(item["events"])) for item in items] == [(LEADS, 3), (CUSTOMERS, 2)]


async def test_an_event_that_several_have_parked_is_given_up_at_each(filled: ParkingGateway, crm: Crm) -> None:
    said = await crm("discard", "lead-1", "--reason", "a test lead", "--yes")

    assert said.code == 0
    assert said.out.splitlines() == [
        f"sales/{LEADS} lead-1: 1 discarded, 2 remaining",
        f"gateway/{CUSTOMERS} lead-1: 1 discarded, 1 remaining",
        "'crm parked retry' applies what remains.",
    ]
    assert [path for path, _ in filled.asked if path.startswith("POST")] == [
        f"POST /api/parked/sales/{LEADS}/crm.sales/lead-1/discard",
        f"POST /api/parked/gateway/{CUSTOMERS}/crm.sales/lead-1/discard",
    ]


async def test_events_of_one_key_that_are_not_the_same_are_not_given_up_together(
    filled: ParkingGateway, crm: Crm
) -> None:
    filled.lots["gateway"][0]["event_id"] = "e-7"

    said = await crm("discard", "lead-1", "--reason", "a test lead", "--yes")

    assert said.code == 1
    assert f"other events of lead-1 wait at sales/{LEADS}, gateway/{CUSTOMERS}: say which" in said.err
    assert not any(path.startswith("POST") for path, _ in filled.asked)


async def test_everything_is_retried_and_what_remains_is_said(filled: ParkingGateway, crm: Crm) -> None:
    filled.stubborn = {"lead-1"}

    said = await crm("retry", "--all")

    assert said.code == 1
    assert said.out.splitlines() == [
        f"sales/{LEADS} lead-1: 0 applied, 3 remaining: KeyError in sales.leads.v1",
        f"sales/{LINKS} {ODD_KEY}: 1 applied",
        f"gateway/{CUSTOMERS} lead-1: 0 applied, 2 remaining: KeyError in gateway.customers.v1",
    ]


async def test_a_discard_gives_up_the_first_event_and_says_why(filled: ParkingGateway, crm: Crm) -> None:
    said = await crm("discard", "lead-1", "--service", "sales", "--reason", " a test lead ", "--yes")

    assert said.code == 0
    assert said.out.splitlines()[0] == f"sales/{LEADS} lead-1: 1 discarded, 2 remaining"
    assert filled.asked[-1] == (
        f"POST /api/parked/sales/{LEADS}/crm.sales/lead-1/discard",
        {"reason": "a test lead", "all": False},
    )
    everything = await crm("discard", "lead-1", "--service", "sales", "--reason", "a test lead", "--all", "-y")
    assert everything.out == f"sales/{LEADS} lead-1: 2 discarded, 0 remaining\n"


async def test_a_discard_whose_answer_is_lost_is_not_repeated(filled: ParkingGateway, crm: Crm) -> None:
    filled.loses_answers = True

    said = await crm("discard", "lead-1", "--service", "sales", "--reason", "a test lead", "--yes")

    assert said.code == 1
    assert "It may have been done: 'crm parked list' shows what is left" in said.err
    assert sum(path.startswith("POST") for path, _ in filled.asked) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("retry",), "say what to retry: a KEY that 'crm parked list' shows, or --all"),
        (("retry", "lead-1", "--all"), "say what to retry"),
        (("retry", "nobody"), "no key nobody is parked there: 'crm parked list' shows what is"),
        (("list", "--service", "billing"), "no service is called 'billing': there are contacts, sales"),
        (("discard", "lead-1", "--reason", "x", "--yes"), "--reason must be 3 to 500 characters"),
        (("discard", "lead-1", "--reason", "a test lead"), "there is nobody to ask: --yes discards without asking"),
    ],
)
async def test_a_refusal_says_what_to_do(
    filled: ParkingGateway, crm: Crm, arguments: tuple[str, ...], reason: str
) -> None:
    said = await crm(*arguments)

    assert said.code == 1
    assert reason in said.err
    assert not any(path.startswith("POST") for path, _ in filled.asked)
