import json
import socket
from pathlib import Path

import pytest

from crm_local.errors import LocalStackError
from crm_local.ports import HOST, assign_ports, is_free, read_ports


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ports.json"


def test_ports_are_picked_once_and_kept(file: Path) -> None:
    first = assign_ports(file, ["kafka", "gateway"], gateway_port=0)
    assert assign_ports(file, ["kafka", "gateway"], gateway_port=0) == first
    assert read_ports(file) == first
    assert len(set(first.values())) == 2


def test_a_kept_port_that_another_program_took_is_replaced(file: Path) -> None:
    first = assign_ports(file, ["kafka", "mongodb"], gateway_port=0)
    with socket.create_server((HOST, first["kafka"])):
        second = assign_ports(file, ["kafka", "mongodb"], gateway_port=0)
    assert second["kafka"] != first["kafka"]
    assert second["mongodb"] == first["mongodb"]


def test_a_taken_gateway_port_is_refused_by_its_number(file: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(LocalStackError, match=rf"port {port} .* CRM_GATEWAY_PORT"):
            assign_ports(file, ["gateway"], gateway_port=port)


def test_a_gateway_port_that_is_set_stands(file: Path) -> None:
    port = assign_ports(file, ["gateway"], gateway_port=0)["gateway"]
    assert assign_ports(file, ["gateway", "kafka"], gateway_port=port)["gateway"] == port


def test_two_names_with_one_kept_port_get_two(file: Path) -> None:
    port = assign_ports(file, ["kafka"], gateway_port=0)["kafka"]
    file.write_text(json.dumps({"kafka": port, "mongodb": port}))
    assert len(set(assign_ports(file, ["kafka", "mongodb"], gateway_port=0).values())) == 2


@pytest.mark.parametrize("content", ["", "[1]", '{"kafka": "x"}'])
def test_a_spoilt_ports_file_is_named(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(LocalStackError, match=r"ports\.json does not list ports"):
        read_ports(file)
