"""Jobs of a service, run beside the stack: `python -m crm_sales rebuild sales.leads`. They tell in lines of JSON."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from crm_local.credentials import OWN_SECRETS
from crm_local.errors import LocalStackError
from crm_local.plan import Addresses
from crm_local.process import Launch, environment_of, tied_to_this_process
from crm_local.services import SERVICES

STOP_SECONDS = 30.0


def told_by(addresses: Addresses, service: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """Run the job to its end; yields what it tells: objects with the member `what`.

    The job ends with this process, and when nobody listens any more. Raises LocalStackError where it refuses, or fails
    without a word.
    """
    launch = _launch(addresses, service, arguments)
    log = addresses.folder.log(f"{service}-{arguments[0]}")
    # The service itself may never have been started here.
    launch.working_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            tied_to_this_process(launch),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=launch.working_folder,
            env=environment_of(launch),
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        refusal = None
        try:
            for line in process.stdout:
                told = _read(line)
                if told is None:
                    errors.write(line)
                elif told["what"] == "refused":
                    refusal = told["why"]
                else:
                    yield told
            process.wait()
        finally:
            _end(process)
    if refusal is not None:
        raise LocalStackError(refusal)
    if process.returncode not in (0, 1):
        raise LocalStackError(f"the job ended with {process.returncode}; what it wrote stands in {log}")


def service_of(name: str) -> str:
    """The service whose read model or policy that is: `sales` of `sales.leads`. Raises LocalStackError."""
    service = name.partition(".")[0]
    if service not in SERVICES:
        raise LocalStackError(f"{name} is of no service: write it as service.name, such as sales.leads")
    return service


def _launch(addresses: Addresses, service: str, arguments: tuple[str, ...]) -> Launch:
    part = addresses.part(service)
    return Launch(
        argv=(sys.executable, "-P", "-m", f"crm_{service}", *arguments),
        environment=part.launch().environment,
        not_inherited=OWN_SECRETS,
        working_folder=addresses.folder.data(service),
    )


def _read(line: bytes) -> dict[str, Any] | None:
    """What the job tells; None for a line of its log."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) and "what" in told else None


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
