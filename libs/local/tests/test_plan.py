import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from crm_contacts import erasure
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.plan import INFRASTRUCTURE, PARTS, Addresses, make_plan, selected_parts
from crm_local.process import spawn
from crm_local.services import SERVICES


def test_all_parts_are_started_unless_some_are_named() -> None:
    assert selected_parts([]) == PARTS


def test_a_service_brings_the_infrastructure_with_it() -> None:
    assert selected_parts(["sales"]) == (*INFRASTRUCTURE, "sales")


def test_infrastructure_names_a_group() -> None:
    assert selected_parts(["infrastructure"]) == INFRASTRUCTURE


def test_an_unknown_part_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LocalStackError, match=r"'nats'.*kafka.*gateway"):
        selected_parts(["nats"])


def test_a_plan_without_services_declares_no_topics(folder: StateFolder) -> None:
    plan = make_plan(folder, gateway_port=0, only=["infrastructure"])
    assert plan.topics is None
    assert [part.name for part in plan.parts] == list(INFRASTRUCTURE)


def test_every_service_is_told_where_everything_is(folder: StateFolder) -> None:
    plan = make_plan(folder, gateway_port=0)
    addresses = Addresses.of(folder)
    environments = {part.name: part.launch().environment for part in plan.services}
    assert {each["CRM_KAFKA_BOOTSTRAP"] for each in environments.values()} == {addresses.kafka_bootstrap}
    assert environments["gateway"]["CRM_SALES_URL"] == addresses.service_url("sales")
    assert environments["sales"]["CRM_POSTGRES_URI"] == addresses.postgres_uri("sales")
    assert "CRM_POSTGRES_URI" not in environments["gateway"]
    assert len({each["CRM_PORT"] for each in environments.values()}) == len(environments)


def test_no_secret_is_an_argument_of_a_process(folder: StateFolder) -> None:
    plan = make_plan(folder, gateway_port=0)
    arguments = " ".join(argument for part in plan.parts for argument in part.launch().argv)
    # A list of further keys is empty until there are any.
    secrets = [text for file in folder.secrets.iterdir() if (text := file.read_text().strip())]
    assert not [secret for secret in secrets if secret in arguments]


def test_addresses_are_unknown_before_the_first_start(folder: StateFolder) -> None:
    with pytest.raises(LocalStackError, match="run 'crm up'"):
        Addresses.of(folder)


def test_a_service_without_an_event_store_has_no_database(folder: StateFolder) -> None:
    make_plan(folder, gateway_port=0)
    with pytest.raises(LocalStackError, match="gateway stores no events"):
        Addresses.of(folder).postgres_uri("gateway")


def test_a_services_secrets_are_its_stacks_whatever_the_shell_says(
    folder: StateFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exported key of another installation would make this stack's events unreadable to itself."""
    sales = next(part for part in make_plan(folder, gateway_port=0, only=["sales"]).parts if part.name == "sales")
    monkeypatch.setenv("CRM_INSTALLATION_KEY", "of another")
    monkeypatch.setenv("CRM_LOG_LEVEL", "debug")
    told = "import os; print(os.environ.get('CRM_INSTALLATION_KEY'), os.environ.get('CRM_LOG_LEVEL'))"
    launch = replace(sales.launch(), argv=(sys.executable, "-c", told))

    async def said() -> str:
        process = await spawn(launch, tmp_path / "log")
        await process.wait()
        return (tmp_path / "log").read_text()

    assert asyncio.run(said()) == "None debug\n"


def test_no_erasure_is_complete_without_a_service() -> None:
    assert set(erasure.SERVICES) == set(SERVICES)
