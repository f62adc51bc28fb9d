"""A setting that is wrong or missing is named, in one message, and the process ends with 2."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crm_platform import former_key
from crm_platform.sealing import InstallationKey
from crm_platform.settings import InvalidSettings, ServiceSettings


def test_what_is_set_is_read(environment: dict[str, str]) -> None:
    settings = ServiceSettings()
    assert settings.kafka_bootstrap == environment["CRM_KAFKA_BOOTSTRAP"]
    assert settings.cursor_key.get_secret_value() == bytes(32)
    assert (settings.database("sales"), settings.instance, settings.port) == ("crm_sales", "0", 8000)


def test_secrets_may_stand_in_files(
    environment: dict[str, str],  # noqa: ARG001 - set
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("CRM_INSTALLATION_KEY")
    monkeypatch.setenv("CRM_SECRETS_DIR", str(tmp_path))
    (tmp_path / "crm_installation_key").write_text(base64.b64encode(b"k" * 32).decode() + "\n")
    assert ServiceSettings().installation_key.get_secret_value() == b"k" * 32


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CRM_CURSOR_KEY", "c2hvcnQ=", "holds 5"),
        ("CRM_CURSOR_KEY", "not/base64!", "is not base64"),
        ("CRM_PORT", "seventy-thousand", "CRM_PORT"),
        ("CRM_SECRETS_DIR", "/no/such/folder", "CRM_SECRETS_DIR"),
        ("CRM_LOG_LEVEL", "loud", "CRM_LOG_LEVEL"),
    ],
)
def test_a_wrong_setting_is_named_and_a_secret_not_repeated(
    environment: dict[str, str],  # noqa: ARG001 - set
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    said: str,
) -> None:
    refusal = _refused(monkeypatch, variable, value)
    assert variable in refusal
    assert said in refusal
    assert "KEY" not in variable or value not in refusal


def _refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> str:
    """What is said of a setting that cannot be taken."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettings) as ended:
        ServiceSettings()
    return str(ended.value)


def test_secrets_do_not_show(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_POSTGRES_URI", "postgresql://crm_sales:hidden@127.0.0.1/crm_sales")
    shown = repr(ServiceSettings())
    assert "hidden" not in shown
    assert environment["CRM_CURSOR_KEY"] not in shown


def test_an_event_store_needs_its_database(environment: dict[str, str]) -> None:  # noqa: ARG001 - set
    with pytest.raises(InvalidSettings, match="CRM_POSTGRES_URI"):
        ServiceSettings().event_store_uri()


def test_a_process_without_settings_ends_with_2_and_one_message() -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CRM_")}
    program = "from crm_platform.settings import ServiceSettings; ServiceSettings()"
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], env=bare, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    for name in ("KAFKA_BOOTSTRAP", "MONGODB_URI", "AUTH_JWKS", "INSTALLATION_KEY", "CURSOR_KEY"):
        assert f"CRM_{name}: is required" in ended.stderr
    assert "the file crm_installation_key in CRM_SECRETS_DIR" in ended.stderr


def _listed(*keys: bytes) -> str:
    return "\n".join(base64.b64encode(key).decode() for key in keys) + "\n"


def test_accepted_keys_and_proofs_are_listed_in_files(
    environment: dict[str, str],  # noqa: ARG001 - set
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("CRM_SECRETS_DIR", str(tmp_path))
    monkeypatch.delenv("CRM_INSTALLATION_KEY")
    (tmp_path / "crm_installation_key").write_text(_listed(b"n" * 32))
    (tmp_path / "crm_accepted_installation_keys").write_text("")
    (tmp_path / "crm_former_installation_proofs").write_text("")
    assert len(ServiceSettings().installation().accepted) == 1
    (tmp_path / "crm_accepted_installation_keys").write_text(_listed(b"o" * 32, b"e" * 32))
    proofs = former_key.proofs_of(InstallationKey(b"f" * 32), {"crm.sales": 7, "crm.service": 9})
    (tmp_path / "crm_former_installation_proofs").write_text(former_key.written(proofs) + "\n")
    installation = ServiceSettings().installation()
    assert len(installation.accepted) == 3
    assert installation.former == (proofs,)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CRM_ACCEPTED_INSTALLATION_KEYS", _listed(b"o" * 32) + "c2hvcnQ=", "holds 5"),
        ("CRM_ACCEPTED_INSTALLATION_KEYS", "not/base64!", "is not base64"),
        ("CRM_FORMER_INSTALLATION_PROOFS", "c2hvcnQ=", "64 bytes"),
        ("CRM_FORMER_INSTALLATION_PROOFS", "not/base64!", "are base64"),
        ("CRM_FORMER_INSTALLATION_PROOFS", _listed(b"p" * 64).strip() + ",crm.sales@all", "crm.sales@479"),
    ],
)
def test_a_wrong_list_is_named_and_not_repeated(
    environment: dict[str, str],  # noqa: ARG001 - set
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    said: str,
) -> None:
    refusal = _refused(monkeypatch, variable, value)
    assert variable in refusal
    assert said in refusal
    assert "c2hvcnQ" not in refusal
