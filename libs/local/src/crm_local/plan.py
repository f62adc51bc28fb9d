"""Which parts a stack has, in the order they start, and the addresses between them."""

from collections.abc import Sequence
from dataclasses import dataclass

from crm_local.credentials import create_credentials
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.kafka import Kafka
from crm_local.mongodb import MongoDB
from crm_local.part import Part
from crm_local.ports import HOST, assign_ports, read_ports
from crm_local.postgres import Postgres
from crm_local.process import Launch
from crm_local.services import EVENT_STORING, POSTGRES_ROLES, SERVICES, STREAM, Service, Surroundings, topics_launch

INFRASTRUCTURE = ("kafka", "mongodb", "postgres")
SERVICE_PARTS = (*SERVICES, STREAM)
PARTS = (*INFRASTRUCTURE, *SERVICE_PARTS)
KAFKA_CONTROLLER = "kafka-controller"
PORT_NAMES = (*PARTS, KAFKA_CONTROLLER)


@dataclass(frozen=True)
class Plan:
    """A stack that could be started: its groups of parts start one after the other, each at once."""

    folder: StateFolder
    infrastructure: tuple[Part, ...]
    topics: Launch | None
    services: tuple[Part, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*self.infrastructure, *self.services)


@dataclass(frozen=True)
class Addresses:
    """Where the parts of a stack are reached. Known from its first start on."""

    folder: StateFolder
    ports: dict[str, int]

    @classmethod
    def of(cls, folder: StateFolder) -> "Addresses":
        """The addresses of the stack in `folder`. Raises LocalStackError before its first start."""
        ports = read_ports(folder.ports)
        if not ports:
            raise LocalStackError(f"no stack has been started in {folder.root}: run 'crm up'")
        return cls(folder, ports)

    @property
    def kafka_bootstrap(self) -> str:
        return self._kafka.address

    @property
    def mongodb_uri(self) -> str:
        return self._mongodb.uri

    def postgres_uri(self, service: str) -> str:
        """The database of an event-storing service, with its password in it."""
        if service not in EVENT_STORING:
            raise LocalStackError(f"{service} stores no events: one of {', '.join(EVENT_STORING)} does")
        return self._postgres.uri(f"crm_{service}")

    def service_url(self, part: str) -> str:
        """The base URL of a service, for instance of `gateway` or `analytics-stream`."""
        if part not in SERVICE_PARTS:
            raise LocalStackError(f"no service is called {part!r}: there are {', '.join(SERVICE_PARTS)}")
        return f"http://{HOST}:{self.ports[part]}"

    @property
    def _kafka(self) -> Kafka:
        return Kafka(self.folder, self.ports["kafka"], self.ports[KAFKA_CONTROLLER])

    @property
    def _mongodb(self) -> MongoDB:
        return MongoDB(self.folder, self.ports["mongodb"])

    @property
    def _postgres(self) -> Postgres:
        return Postgres(self.folder, self.ports["postgres"], POSTGRES_ROLES)

    def part(self, name: str) -> Part:
        """A part by its name. Raises LocalStackError for an unknown one."""
        match name:
            case "kafka":
                return self._kafka
            case "mongodb":
                return self._mongodb
            case "postgres":
                return self._postgres
            case _ if name in SERVICE_PARTS:
                return Service(name, self._surroundings())
        raise LocalStackError(f"no part is called {name!r}: there are {', '.join(PARTS)}")

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            folder=self.folder,
            kafka_bootstrap=self.kafka_bootstrap,
            mongodb_uri=self.mongodb_uri,
            postgres_uris={name: self.postgres_uri(name) for name in EVENT_STORING},
            ports=self.ports,
        )


def selected_parts(only: Sequence[str]) -> tuple[str, ...]:
    """The parts that `only` names, with what they need; all if it names none.

    `infrastructure` and `services` name groups; the services as a group come alone, for an infrastructure that runs
    elsewhere on the same ports, in containers.

    Raises LocalStackError for an unknown name.
    """
    if not only:
        return PARTS
    wanted: set[str] = set()
    for name in only:
        if name == "infrastructure":
            wanted.update(INFRASTRUCTURE)
        elif name == "services":
            wanted.update(SERVICE_PARTS)
        elif name in INFRASTRUCTURE:
            wanted.add(name)
        elif name in SERVICE_PARTS:
            wanted.update({name, *INFRASTRUCTURE})
        else:
            raise LocalStackError(f"no part is called {name!r}: there are infrastructure, services, {', '.join(PARTS)}")
    return tuple(name for name in PARTS if name in wanted)


def make_plan(folder: StateFolder, gateway_port: int, only: Sequence[str] = ()) -> Plan:
    """Chooses ports, makes missing secrets, and lays out the stack. Only its sole supervisor may call this.

    Raises LocalStackError for an unknown part or a gateway port that is taken.
    """
    names = selected_parts(only)
    create_credentials(folder, POSTGRES_ROLES)
    ports = assign_ports(folder.ports, PORT_NAMES, gateway_port if "gateway" in names else 0)
    addresses = Addresses(folder, ports)
    services = tuple(addresses.part(name) for name in names if name in SERVICE_PARTS)
    return Plan(
        folder=folder,
        infrastructure=tuple(addresses.part(name) for name in names if name in INFRASTRUCTURE),
        topics=topics_launch(folder, addresses.kafka_bootstrap) if services else None,
        services=services,
    )
