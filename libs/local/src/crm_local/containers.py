"""The same infrastructure in containers, from the official images, where a Docker engine runs on this machine."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from docker.errors import DockerException
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from crm_local.credentials import POSTGRES_SUPERUSER, create_credentials, postgres_password
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.kafka import BROKER_SETTINGS
from crm_local.mongodb import NEVER_SLOW_MS, REPLICA_SET, TRANSACTION_SECONDS
from crm_local.part import Part, until_ready
from crm_local.plan import INFRASTRUCTURE, KAFKA_CONTROLLER, PORT_NAMES, Addresses
from crm_local.ports import HOST, assign_ports
from crm_local.services import POSTGRES_ROLES

KAFKA_IMAGE = "apache/kafka:4.3.1"
MONGODB_IMAGE = "mongo:8.0"
POSTGRES_IMAGE = "postgres:18"


def docker_available() -> bool:
    """Whether a Docker engine answers."""
    try:
        return bool(DockerClient().client.ping())
    except DockerException:
        return False


@contextmanager
def infrastructure_in_containers(folder: StateFolder) -> Iterator[Addresses]:
    """Runs Kafka, MongoDB and PostgreSQL in containers until the context ends; their data ends with them.

    A server listens inside on the port it has outside, so that the address it tells its clients holds on both
    sides. Raises LocalStackError if no Docker engine answers or a part is not ready in time.
    """
    if not docker_available():
        raise LocalStackError("no Docker engine answers: start one, or use the processes of 'crm up'")
    folder.create()
    create_credentials(folder, POSTGRES_ROLES)
    addresses = Addresses(folder, assign_ports(folder.ports, PORT_NAMES, gateway_port=0))
    with ExitStack() as running:
        for container in (_kafka(addresses), _mongodb(addresses), _postgres(addresses)):
            running.enter_context(container)
        asyncio.run(_all_ready([addresses.part(name) for name in INFRASTRUCTURE]))
        yield addresses


async def _all_ready(parts: list[Part]) -> None:
    answers: dict[str, str] = {}
    try:
        async with asyncio.timeout(max(part.ready_within for part in parts)), asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(until_ready(part, partial(answers.__setitem__, part.name)))
    except TimeoutError as error:
        raise LocalStackError(f"the containers were not ready in time: {answers}") from error


def _kafka(addresses: Addresses) -> DockerContainer:
    port, controller = addresses.ports["kafka"], addresses.ports[KAFKA_CONTROLLER]
    settings = BROKER_SETTINGS | {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@localhost:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://:{port},CONTROLLER://:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    container = DockerContainer(KAFKA_IMAGE).with_bind_ports(port, port)
    for name, value in settings.items():
        container = container.with_env("KAFKA_" + name.upper().replace(".", "_"), str(value))
    return container


def _mongodb(addresses: Addresses) -> DockerContainer:
    port = addresses.ports["mongodb"]
    command = f"--replSet {REPLICA_SET} --bind_ip_all --port {port} --wiredTigerCacheSizeGB 0.5"
    command += f" --slowms {NEVER_SLOW_MS} --setParameter transactionLifetimeLimitSeconds={TRANSACTION_SECONDS}"
    return DockerContainer(MONGODB_IMAGE).with_bind_ports(port, port).with_command(command)


def _postgres(addresses: Addresses) -> DockerContainer:
    port = addresses.ports["postgres"]
    return (
        DockerContainer(POSTGRES_IMAGE)
        .with_bind_ports(port, port)
        .with_env("POSTGRES_PASSWORD", postgres_password(addresses.folder, POSTGRES_SUPERUSER))
        .with_command(f"-p {port} -c max_connections=200")
    )
