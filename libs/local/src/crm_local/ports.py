"""Ports of the local stack: free ones, picked once and kept, so that addresses survive a restart."""

import json
import random
import socket
from collections.abc import Collection, Iterable
from pathlib import Path

from crm_local.errors import LocalStackError

HOST = "127.0.0.1"
# Below the range from which the system takes the ports of outgoing connections: a part that is
# restarted must find its port free.
_CANDIDATES = range(20_000, 32_000)
_ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def assign_ports(file: Path, names: Iterable[str], gateway_port: int) -> dict[str, int]:
    """The port of each name: the kept one where it is still free, else a new one; what was chosen is kept in `file`.

    `gateway_port` is the port of the name `gateway`, 0 for a kept or free one.
    Raises LocalStackError if the gateway's port is taken.
    """
    kept = read_ports(file)
    if gateway_port:
        if not is_free(gateway_port):
            raise LocalStackError(
                f"port {gateway_port} for the gateway is taken: stop what listens there, "
                "or set CRM_GATEWAY_PORT to another port (0 picks a free one)",
            )
        kept["gateway"] = gateway_port
    chosen: dict[str, int] = {}
    for name in names:
        port = kept.get(name)
        usable = port is not None and is_free(port) and port not in chosen.values()
        chosen[name] = port if usable and port is not None else free_ports(1, but=(*kept.values(), *chosen.values()))[0]
    file.write_text(json.dumps(chosen, indent=2) + "\n")
    return chosen


def read_ports(file: Path) -> dict[str, int]:
    """The ports kept in `file`, none if it does not exist. Raises LocalStackError if it cannot be read as such."""
    if not file.exists():
        return {}
    try:
        return {str(name): int(port) for name, port in json.loads(file.read_text()).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise LocalStackError(f"{file} does not list ports: remove it and start again") from error


def free_ports(count: int, but: Collection[int] = ()) -> list[int]:
    """So many ports on which nobody listens, and which the system gives to no outgoing connection meanwhile.

    Raises LocalStackError if there are none.
    """
    found: list[int] = []
    for _ in range(_ATTEMPTS * count):
        if len(found) == count:
            return found
        port = random.choice(_CANDIDATES)  # noqa: S311 - spreads stacks over the range, guards nothing
        if port not in (*but, *found) and is_free(port):
            found.append(port)
    raise LocalStackError(f"no free port between {_CANDIDATES.start} and {_CANDIDATES.stop} on {HOST}")
