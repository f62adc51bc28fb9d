"""The event chains of the services of the running stack."""

from collections.abc import Sequence

from rich.console import Console

from crm_events.topics import context_topic
from crm_local.credentials import installation
from crm_local.errors import LocalStackError
from crm_local.plan import Addresses
from crm_local.progress import progress_bar
from crm_local.running import running_addresses
from crm_local.services import EVENT_STORING
from crm_local.settings import LocalSettings
from crm_platform.event_chain.checkpoint import CheckpointKeys, Seal
from crm_platform.event_chain.findings import Report
from crm_platform.event_chain.job import ALTERED, NOT_VERIFIABLE, exit_code
from crm_platform.event_chain.verification import NotVerifiableError, verify


def kept_checkpoints(written: Sequence[str]) -> list[Seal]:
    """Checkpoints that were kept, as they were printed. Raises LocalStackError."""
    try:
        seals = [Seal.read(text) for text in written]
    except ValueError as malformed:
        raise LocalStackError(str(malformed)) from malformed
    if unknown := {seal.log for seal in seals} - {context_topic(service) for service in EVENT_STORING}:
        raise LocalStackError(f"no service stores {', '.join(sorted(unknown))}")
    return seals


def verify_chains(services: Sequence[str], kept: Sequence[Seal]) -> int:
    """Verify the services one after the other, all unless named; returns the exit code. Raises LocalStackError."""
    if unknown := set(services) - set(EVENT_STORING):
        named = ", ".join(sorted(unknown))
        raise LocalStackError(f"{named} stores no events: there are {', '.join(EVENT_STORING)}")
    folder = LocalSettings().folder
    addresses = running_addresses(folder)
    trusted = CheckpointKeys.of(installation(folder)).trusted
    codes = [_verify_one(service, addresses, trusted, kept) for service in services or EVENT_STORING]
    return ALTERED if ALTERED in codes else max(codes)


def _verify_one(service: str, addresses: Addresses, trusted: frozenset[bytes], kept: Sequence[Seal]) -> int:
    log = context_topic(service)
    try:
        with progress_bar() as bar:
            task = bar.add_task(log)

            def show(position: int, last: int) -> None:
                bar.update(task, completed=position, total=last)

            report = verify(addresses.postgres_uri(service), log, trusted, kept, show)
    except NotVerifiableError as refusal:
        Console(stderr=True).print(f"crm: {refusal}", style="red", highlight=False, markup=False, soft_wrap=True)
        return NOT_VERIFIABLE
    _show(report)
    return exit_code(report)


def _show(report: Report) -> None:
    headline, *rest = report.lines()
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(headline, style="green" if report.is_unaltered else "bold red")
    for line in rest:
        console.print(line)
