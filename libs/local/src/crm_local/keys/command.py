"""`crm keys`: change the installation's key while the stack runs."""

from pathlib import Path

import psycopg
import typer
from rich.console import Console

from crm_events.topics import context_topic
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.keys.rolling import restart_those_before
from crm_local.keys.secrets import KeyFiles
from crm_local.plan import Addresses
from crm_local.progress import progress_bar
from crm_local.running import running_addresses
from crm_local.service_job import told_by
from crm_local.services import EVENT_STORING, SERVICES
from crm_local.settings import LocalSettings

_JOB = "rewrap-keys"


def rotate() -> None:
    """Change the installation's key while the platform runs: accept the new one everywhere, use it, rewrap, check.

    Each service is restarted twice, one after the other. Here there is one process of each, so it is away meanwhile.

    Interrupted, it goes on where it was when called again.
    """
    folder = LocalSettings().folder
    addresses = running_addresses(folder)
    files = KeyFiles(folder)
    _say("1 of 4: every service accepts the new key" if not files.is_changing else "going on with the new key")
    files.begin()
    _restart(folder, files.accepted)
    _say("2 of 4: every service wraps and signs with the new key")
    files.switch()
    _restart(folder, files.present)
    _say("3 of 4: what the key before has wrapped is wrapped anew")
    for service in SERVICES:
        _rewrap(addresses, service)
    _say("4 of 4: nothing is wrapped by the key before")
    _refuse_if_left(addresses)
    files.finish()
    _say("The key is changed. The one before is still accepted: 'crm keys retire' gives it up once no backup needs it.")


def check() -> None:
    """Count the keys that another than the present key has wrapped. Exits with 1 if there are any."""
    addresses = running_addresses(LocalSettings().folder)
    left = {service: _left(addresses, service) for service in SERVICES}
    for service, keys in left.items():
        _say(f"{service}: {keys} wrapped by another key")
    if any(left.values()):
        raise typer.Exit(1)


def retire() -> None:
    """Give up the accepted keys: what they have wrapped, in old backups too, can never be read again."""
    folder = LocalSettings().folder
    addresses = running_addresses(folder)
    _refuse_if_left(addresses)
    files = KeyFiles(folder)
    retired = files.retire({context_topic(service): _last_position(addresses, service) for service in EVENT_STORING})
    _restart(folder, files.accepted)
    _say(f"{retired} keys are given up. What proves old records is kept.")


def _restart(folder: StateFolder, written: Path) -> None:
    restart_those_before(folder, written, lambda name: _say(f"  restarting {name}"))


def _rewrap(addresses: Addresses, service: str) -> None:
    with progress_bar() as bar:
        task = bar.add_task(service, total=None)
        for told in told_by(addresses, service, _JOB):
            if told["what"] == "progress":
                bar.update(task, completed=told["done"], total=told["total"])
        bar.update(task, completed=1, total=1)


def _refuse_if_left(addresses: Addresses) -> None:
    left = {service: keys for service in SERVICES if (keys := _left(addresses, service))}
    if left:
        counted = ", ".join(f"{service} {keys}" for service, keys in left.items())
        raise LocalStackError(f"keys are still wrapped by another key ({counted}): call 'crm keys rotate' to go on")


def _left(addresses: Addresses, service: str) -> int:
    (told,) = [each for each in told_by(addresses, service, _JOB, "--check") if each["what"] == "left"]
    return int(told["stored"]) + int(told["ring"])


def _last_position(addresses: Addresses, service: str) -> int:
    with psycopg.connect(addresses.postgres_uri(service)) as connection:
        row = connection.execute("SELECT max(notification_id) FROM store_events").fetchone()
    return int(row[0] or 0) if row else 0


def _say(sentence: str) -> None:
    Console(soft_wrap=True, highlight=False).print(sentence)
