"""`python -m crm_<service> verify-chain`: verifies the service's events beside the running service."""

import argparse
import sys
from collections.abc import Sequence

from crm_platform.event_chain.checkpoint import SEAL_FORM, CheckpointKeys, Seal
from crm_platform.event_chain.findings import Report
from crm_platform.event_chain.verification import NotVerifiableError, verify
from crm_platform.settings import ServiceSettings

ROLE = "verify-chain"
ALTERED, NOT_VERIFIABLE = 1, 2
"""Exit codes."""


def add_verify_chain(roles: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command line of the job."""
    role = roles.add_parser(ROLE, help="verify that the stored events are what was written")
    role.add_argument(
        "--kept",
        type=_seal,
        action="append",
        default=[],
        metavar=SEAL_FORM,
        help="a checkpoint that must still be there",
    )


def verify_chain(log: str | None, settings: ServiceSettings, kept: Sequence[Seal]) -> int:
    """Verify the events of the log, None for a service that stores none, and print the report; returns the exit code.

    Not a coroutine, so that a signal ends it at once.
    """
    try:
        if log is None:
            raise NotVerifiableError("this service stores no events, so there is nothing to verify")
        if strange := [str(seal) for seal in kept if seal.log != log]:
            raise NotVerifiableError(f"no checkpoint of {log}: {', '.join(strange)}")
        keys = CheckpointKeys.of(settings.installation())
        report = verify(settings.event_store_uri(), log, keys.trusted, kept)
    except NotVerifiableError as refusal:
        sys.stderr.write(f"{refusal}\n")
        return NOT_VERIFIABLE
    sys.stdout.write("\n".join(report.lines()) + "\n")
    return exit_code(report)


def exit_code(report: Report) -> int:
    return 0 if report.is_unaltered else ALTERED


def _seal(text: str) -> Seal:
    try:
        return Seal.read(text)
    except ValueError as malformed:
        raise argparse.ArgumentTypeError(str(malformed)) from malformed
