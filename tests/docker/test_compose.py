"""docker-compose.yml against the Compose Specification, and against the code that runs in its containers."""

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from crm_analytics.settings import AnalyticsSettings
from crm_contacts.settings import ContactsSettings
from crm_gateway.settings import GatewaySettings
from crm_local.containers import KAFKA_IMAGE, MONGODB_IMAGE, POSTGRES_IMAGE
from crm_local.folder import StateFolder
from crm_local.kafka import BROKER_SETTINGS
from crm_local.mongodb import NEVER_SLOW_MS
from crm_local.services import EVENT_STORING, POSTGRES_ROLES, SERVICES, STREAM
from crm_local.tokens import issue_token
from crm_marketing.settings import MarketingSettings
from crm_platform.auth import TokenVerifier
from crm_platform.service import ROLES
from crm_platform.settings import PREFIX, SECRETS_DIR, ServiceSettings
from crm_sales.settings import SalesSettings
from crm_service.settings import ServiceDeskSettings

APPLICATIONS = (*SERVICES, STREAM)
SETTINGS: dict[str, type[ServiceSettings]] = {
    "contacts": ContactsSettings,
    "sales": SalesSettings,
    "service": ServiceDeskSettings,
    "marketing": MarketingSettings,
    "analytics": AnalyticsSettings,
    "analytics-stream": AnalyticsSettings,
    "gateway": GatewaySettings,
}
Service = dict[str, Any]


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Service]:
    found: dict[str, Service] = compose["services"]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StateFolder:
    """A state folder in which `crm secrets` was run, as a person runs it."""
    state = StateFolder(tmp_path_factory.mktemp("crm") / "local")
    _crm_secrets(state)
    return state


def test_it_is_valid_by_the_compose_specification(root: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, root / "docker-compose.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_service_of_the_workspace_has_a_container(root: Path, services: dict[str, Service]) -> None:
    in_workspace = {path.parent.name for path in root.glob("services/*/pyproject.toml")}
    assert in_workspace == set(SERVICES)
    built = {name for name, service in services.items() if "build" in service}
    assert built == {*APPLICATIONS, "topics"}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_container_runs_a_role_of_the_service_it_is_built_from(
    root: Path, services: dict[str, Service], name: str
) -> None:
    built_from = services[name]["build"]["args"]["SERVICE"]
    module, role = services[name]["command"]
    assert module == f"crm_{built_from}"
    assert (root / "services" / built_from / "src" / module / "__main__.py").is_file()
    assert role in (*ROLES, *(("stream",) if built_from == "analytics" else ()))
    assert name == (built_from if role == "all" else f"{built_from}-{role}")


def test_the_topics_are_declared_by_a_module_that_can_be_run(root: Path, services: dict[str, Service]) -> None:
    (module,) = services["topics"]["command"]
    assert callable(importlib.import_module(module).main)
    assert (root / "services" / services["topics"]["build"]["args"]["SERVICE"]).is_dir()
    assert set(services["topics"]["environment"]) == {"CRM_KAFKA_BOOTSTRAP"}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_the_settings_of_a_container_are_read_as_the_service_reads_them(
    compose: dict[str, Any], folder: StateFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    service = compose["services"][name]
    for variable, value in service["environment"].items():
        monkeypatch.setenv(variable, value)
    for source, target in _mounted(service["secrets"]):
        shutil.copy(_on_host(compose["secrets"][source]["file"], folder), tmp_path / target)
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    settings = SETTINGS[name]()
    assert settings.host == "0.0.0.0"
    assert settings.port == 8000
    if name in EVENT_STORING:
        assert re.fullmatch(rf"postgresql://crm_{name}:[\w-]+@postgres:5432/crm_{name}", settings.event_store_uri())
    else:
        assert settings.postgres_uri is None


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_service_reads_every_setting_that_its_container_has(services: dict[str, Service], name: str) -> None:
    read = {PREFIX + field.upper() for field in SETTINGS[name].model_fields}
    assert {each for each in services[name]["environment"] if each.startswith(PREFIX)} - {SECRETS_DIR} <= read
    assert {target for _, target in _mounted(services[name]["secrets"])} <= {each.lower() for each in read}
    assert services[name]["environment"][SECRETS_DIR] == "/run/secrets"


@pytest.mark.parametrize("name", APPLICATIONS)
def test_no_secret_stands_in_the_environment(services: dict[str, Service], name: str) -> None:
    secret = {
        PREFIX + field.upper() for field in ("installation_key", "identifier_pepper", "cursor_key", "postgres_uri")
    }
    assert not secret & set(services[name]["environment"])


@pytest.mark.parametrize("name", APPLICATIONS)
async def test_a_token_of_crm_token_is_good_for_every_service(
    compose: dict[str, Any], folder: StateFolder, name: str
) -> None:
    service = compose["services"][name]
    targets = {target: source for source, target in _mounted(service["configs"])}
    environment = service["environment"]
    jwks = _on_host(compose["configs"][targets[environment["CRM_AUTH_JWKS"]]]["file"], folder)
    verifier = TokenVerifier(str(jwks), environment["CRM_AUTH_ISSUER"], environment["CRM_AUTH_AUDIENCE"])
    assert (await verifier.verify(issue_token(folder, ["sales"], subject="ada"))).subject == "ada"


def test_every_mounted_file_exists(root: Path, compose: dict[str, Any], folder: StateFolder) -> None:
    for kind in ("secrets", "configs"):
        for name, source in compose[kind].items():
            file = _on_host(source["file"], folder) if "CRM_LOCAL_DIR" in source["file"] else root / source["file"]
            assert file.is_file(), name
        mounted = {source for each in compose["services"].values() for source, _ in _mounted(each.get(kind, []))}
        assert mounted == set(compose[kind]), f"{kind}: one is not defined, or nobody mounts it"


def test_crm_secrets_makes_only_what_is_mounted(compose: dict[str, Any], folder: StateFolder) -> None:
    mounted = {Path(each["file"]).name for each in (*compose["secrets"].values(), compose["configs"]["jwks"])}
    assert {file.name for file in (folder.root / "compose").iterdir()} == mounted
    assert "token_signing_key.pem" not in mounted


def test_containers_can_read_the_secrets_and_other_users_cannot(folder: StateFolder) -> None:
    made = folder.root / "compose"
    assert made.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in made.iterdir()} == {0o444}


def test_crm_secrets_leaves_the_files_that_may_be_mounted(folder: StateFolder) -> None:
    made = folder.root / "compose"
    before = {file.name: (file.stat().st_ino, file.read_text()) for file in made.iterdir()}
    _crm_secrets(folder)
    assert {file.name: (file.stat().st_ino, file.read_text()) for file in made.iterdir()} == before


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_service_reaches_what_its_settings_name(services: dict[str, Service], name: str) -> None:
    """Every host is a container of this file, at a port that it listens on."""
    listening = {"kafka": "9092", "mongodb": "27017"} | dict.fromkeys(APPLICATIONS, "8000")
    texts = [text for key, text in services[name]["environment"].items() if key.startswith(PREFIX) and ":" in text]
    for text in texts:
        match = re.fullmatch(r"(?:\w+://)?([\w-]+):(\d+)(?:/.*)?", text)
        assert match is not None, text
        assert listening.get(match[1]) == match[2], text
    if name == "gateway":
        for service in set(SERVICES) - {"gateway"}:
            assert services[name]["environment"][f"CRM_{service.upper()}_URL"] == f"http://{service}:8000"


@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_service_starts_after_what_it_needs(services: dict[str, Service], name: str) -> None:
    conditions = {each: needed["condition"] for each, needed in services[name]["depends_on"].items()}
    assert set(conditions) <= set(services)
    expected = {"topics": "service_completed_successfully", "kafka": "service_healthy", "mongodb": "service_healthy"}
    if name in EVENT_STORING:
        expected["postgres"] = "service_healthy"
    assert expected.items() <= conditions.items()
    for each in expected:
        assert conditions[each] != "service_healthy" or services[each]["healthcheck"]["test"]


def test_only_the_gateway_and_prometheus_are_published_and_only_here(services: dict[str, Service]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"gateway", "prometheus"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_every_container_is_bounded(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name


def test_images_are_pinned_and_are_those_of_the_tests(services: dict[str, Service]) -> None:
    images = {name: service["image"] for name, service in services.items() if "image" in service}
    for image in images.values():
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(@sha256:[0-9a-f]{64})?", image), image
    assert _is_release_of(images["kafka"], KAFKA_IMAGE)
    assert _is_release_of(images["mongodb"], MONGODB_IMAGE)
    assert _is_release_of(images["postgres"], POSTGRES_IMAGE)


def test_the_broker_has_the_settings_of_the_local_stack(services: dict[str, Service]) -> None:
    environment = services["kafka"]["environment"]
    expected = {"KAFKA_" + key.upper().replace(".", "_"): str(value) for key, value in BROKER_SETTINGS.items()}
    assert expected.items() <= environment.items()
    assert environment["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://kafka:9092"
    assert f"{environment['KAFKA_LOG_DIRS']}" in {each.split(":")[1] for each in services["kafka"]["volumes"]}


def test_the_replica_set_is_the_one_that_services_connect_to(root: Path, services: dict[str, Service]) -> None:
    script = (root / "deploy/docker/replica-set.js").read_text()
    found = re.search(r'_id: "(\w+)", members: \[\{ _id: 0, host: "([\w:]+)" \}\]', script)
    assert found is not None
    name, member = found.groups()
    command = services["mongodb"]["command"]
    assert command[command.index("--replSet") + 1] == name
    for each in APPLICATIONS:
        assert services[each]["environment"]["CRM_MONGODB_URI"] == f"mongodb://{member}/?replicaSet={name}"


def test_mongodb_logs_no_values(services: dict[str, Service]) -> None:
    command = services["mongodb"]["command"]
    assert command[command.index("--slowms") + 1] == str(NEVER_SLOW_MS)


def test_volumes_are_all_used_and_all_defined(compose: dict[str, Any]) -> None:
    used = {each.split(":")[0] for service in compose["services"].values() for each in service.get("volumes", [])}
    assert used == set(compose["volumes"])


def test_postgres_reads_the_password_of_every_role_it_makes(root: Path, services: dict[str, Service]) -> None:
    script = (root / "deploy/docker/databases.sql").read_text()
    read = set(re.findall(r"/run/secrets/(\w+)", script))
    assert read == {f"password_{role}" for role in POSTGRES_ROLES}
    postgres = services["postgres"]
    assert set(postgres["secrets"]) == {*read, Path(postgres["environment"]["POSTGRES_PASSWORD_FILE"]).name}


def test_prometheus_asks_every_service(root: Path) -> None:
    (job,) = yaml.safe_load((root / "deploy/docker/prometheus.yml").read_text())["scrape_configs"]
    (group,) = job["static_configs"]
    assert sorted(group["targets"]) == sorted(f"{name}:8000" for name in APPLICATIONS)
    assert job.get("metrics_path", "/metrics") == "/metrics"


def _crm_secrets(state: StateFolder) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crm_local", "secrets"],
        env={"CRM_LOCAL_DIR": str(state.root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _mounted(entries: list[str | dict[str, str]]) -> list[tuple[str, str]]:
    """Source and target of each secret or config, in the short or the long form."""
    return [(each, each) if isinstance(each, str) else (each["source"], each["target"]) for each in entries]


def _on_host(file: str, folder: StateFolder) -> Path:
    """Where a file is, with the state folder that the test has."""
    assert file.startswith("${CRM_LOCAL_DIR:-.local}/"), file
    return Path(file.replace("${CRM_LOCAL_DIR:-.local}", str(folder.root)))


def _is_release_of(image: str, tag: str) -> bool:
    """Whether `image` is `tag` or a more exact one of it: postgres:18.6 is one of postgres:18."""
    return image == tag or image.startswith(f"{tag}.")
