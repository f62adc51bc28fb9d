"""The Dockerfile and its build context, as far as they can be judged without an engine."""

import http.server
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths
from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from packaging.version import Version


@dataclass(frozen=True)
class Instruction:
    """One instruction, and the stage it belongs to by its number."""

    stage: int
    name: str
    value: str


@pytest.fixture(scope="module")
def instructions(root: Path) -> list[Instruction]:
    stage = -1
    found = []
    for each in DockerfileParser(str(root / "Dockerfile")).structure:
        if each["instruction"] == "COMMENT":
            continue
        stage += each["instruction"] == "FROM"
        found.append(Instruction(stage, each["instruction"], each["value"]))
    return found


@pytest.fixture(scope="module")
def final_stage(instructions: list[Instruction]) -> list[Instruction]:
    return [each for each in instructions if each.stage == instructions[-1].stage]


@pytest.fixture(scope="module")
def service_names(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob("services/*/pyproject.toml"))


@pytest.fixture(scope="module")
def build_context(root: Path) -> set[str]:
    """The files that a build can see."""
    patterns = [line for line in (root / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    return set(exclude_paths(str(root), patterns))


def test_hadolint_finds_nothing(root: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, root / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_image_is_pinned_by_an_exact_tag(instructions: list[Instruction]) -> None:
    images = [each.value.split()[0] for each in instructions if each.name == "FROM"]
    assert images
    for image in images:
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?", image), image


def test_the_stages_that_are_copied_from_exist(instructions: list[Instruction]) -> None:
    stages = {match[1] for each in instructions if (match := re.search(r"\bAS (\w+)$", each.value))}
    used = {match[1] for each in instructions if (match := re.match(r"--from=(\S+)", each.value))}
    assert used == stages, "a stage is not there, or nobody copies from it"


def test_what_is_copied_is_in_the_build_context(
    instructions: list[Instruction], build_context: set[str], service_names: list[str]
) -> None:
    sources = [
        source
        for each in instructions
        if each.name == "COPY" and not each.value.startswith("--from=")
        for source in each.value.split()[:-1]
    ]
    assert sources
    for service in service_names:
        for source in sources:
            path = source.replace("${SERVICE}", service)
            assert any(file == path or file.startswith(f"{path}/") for file in build_context), f"{path} is not there"


def test_the_build_context_holds_nothing_else(build_context: set[str]) -> None:
    own = {"Dockerfile", ".dockerignore"}
    meant = re.compile(
        r"pyproject\.toml|requirements\.lock|(libs/events|libs/platform|services)(/.*)?|deploy/docker/probe\.py"
    )
    assert [path for path in build_context - own if not meant.fullmatch(path)] == []
    assert [path for path in build_context if {"tests", "__pycache__"} & set(path.split("/"))] == []


def test_the_builder_verifies_hashes_and_takes_its_versions_from_the_lock(instructions: list[Instruction]) -> None:
    runs = [each.value for each in instructions if each.name == "RUN"]
    installs = [
        command
        for run in runs
        for command in re.split(r"&&", run)
        if re.search(r"\b(uv )?pip3? (install|sync)\b", command)
    ]
    assert len(installs) == 2
    third_party, workspace = installs
    assert {"--require-hashes", "--no-build", "--constraints", "requirements.lock"} <= set(third_party.split())
    assert {"--offline", "--no-deps"} <= set(workspace.split())


def test_the_builders_uv_builds_every_workspace_package_itself(
    root: Path, instructions: list[Instruction], service_names: list[str]
) -> None:
    """It does so without fetching a build tool, if its release is the one the packages ask for."""
    image = next(each.value.split()[0] for each in instructions if each.name == "FROM" and "/uv:" in each.value)
    version = Version(image.rpartition(":")[2])
    for folder in ("libs/events", "libs/platform", *(f"services/{name}" for name in service_names)):
        project = tomllib.loads((root / folder / "pyproject.toml").read_text())
        (required,) = project["build-system"]["requires"]
        assert version in Requirement(required).specifier, folder


def test_the_libraries_of_the_workspace_that_a_service_needs_are_installed_with_it(
    root: Path, instructions: list[Instruction], service_names: list[str]
) -> None:
    workspace = next(each.value for each in instructions if each.name == "RUN" and "--offline" in each.value)
    installed = {f"crm-{name}" for name in re.findall(r"\./libs/(\w+)", workspace)}
    for folder in ("libs/platform", *(f"services/{name}" for name in service_names)):
        project = tomllib.loads((root / folder / "pyproject.toml").read_text())
        needed = {Requirement(text).name for text in project["project"]["dependencies"]}
        assert {name for name in needed if name.startswith("crm-")} <= installed, folder


def test_the_final_image_runs_as_a_numeric_user_who_is_not_root(final_stage: list[Instruction]) -> None:
    users = [each.value for each in final_stage if each.name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


def test_the_final_image_is_only_filled_by_copying(final_stage: list[Instruction]) -> None:
    """No uv, no build tool: nothing is run in it, and only the environment and the probe come in."""
    assert [each.value for each in final_stage if each.name in ("RUN", "ADD")] == []
    assert [each.value for each in final_stage if each.name == "COPY"] == [
        "--from=builder /opt/crm /opt/crm",
        "deploy/docker/probe.py /opt/crm/probe.py",
    ]


def test_the_final_image_has_the_python_that_the_environment_was_made_with(instructions: list[Instruction]) -> None:
    *_, builder, final = (each.value.split()[0] for each in instructions if each.name == "FROM")
    assert final == builder


@pytest.mark.parametrize("name", ["ENTRYPOINT", "HEALTHCHECK"])
def test_no_shell_stands_before_python(final_stage: list[Instruction], name: str) -> None:
    (value,) = (each.value for each in final_stage if each.name == name)
    assert re.search(r'(^|CMD )\["python", ', value), "not in exec form"


def test_the_image_asks_whether_the_service_is_alive(final_stage: list[Instruction]) -> None:
    (value,) = (each.value for each in final_stage if each.name == "HEALTHCHECK")
    assert value.endswith('"/livez"]')


class _Probed(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response({"/livez": 200}.get(self.path, 503))
        self.end_headers()
        self.wfile.write(b'{"status":"told"}')

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Says nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Probed) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "code"), [("/livez", 0), ("/readyz", 1)])
def test_the_probe_exits_as_the_service_answers(root: Path, port: int, path: str, code: int) -> None:
    done = _probe(root, port, path)
    assert done.returncode == code
    assert "told" in done.stdout


def test_the_probe_fails_where_nobody_answers(root: Path) -> None:
    done = _probe(root, 1, "/livez")
    assert done.returncode == 1
    assert "no answer" in done.stdout
    assert done.stderr == ""


def _probe(root: Path, port: int, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", root / "deploy/docker/probe.py", path],
        env={**os.environ, "CRM_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
