import base64
from pathlib import Path

import jwt
import pytest

from crm_local.credentials import create_credentials, postgres_password
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.tokens import AUDIENCE, ISSUER, ROLES, issue_token

_ROLES = ("crm_sales",)


def test_secrets_are_closed_to_others(folder: StateFolder) -> None:
    create_credentials(folder, _ROLES)
    assert folder.secrets.stat().st_mode & 0o777 == 0o700
    files = list(folder.secrets.iterdir())
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert {file.name for file in files} == {
        "crm_installation_key",
        "crm_accepted_installation_keys",
        "crm_former_installation_proofs",
        "crm_identifier_pepper",
        "crm_cursor_key",
        "password_postgres",
        "password_crm_sales",
        "token_signing_key.pem",
    }


def test_secrets_are_made_once(folder: StateFolder) -> None:
    create_credentials(folder, _ROLES)
    before = _contents(folder.secrets)
    create_credentials(folder, _ROLES)
    assert _contents(folder.secrets) == before


def test_the_platform_keys_are_32_bytes_each_and_differ(folder: StateFolder) -> None:
    create_credentials(folder, _ROLES)
    names = ("crm_installation_key", "crm_identifier_pepper", "crm_cursor_key")
    keys = {base64.b64decode((folder.secrets / name).read_text(), validate=True) for name in names}
    assert [len(key) for key in keys] == [32, 32, 32]


def test_a_password_asked_for_too_early_says_what_to_do(folder: StateFolder) -> None:
    with pytest.raises(LocalStackError, match="run 'crm up' once"):
        postgres_password(folder, "crm_sales")


def test_a_token_verifies_with_the_published_keys(folder: StateFolder) -> None:
    create_credentials(folder, _ROLES)
    token = issue_token(folder, ["sales", "admin"], subject="ada", ttl=60)
    header = jwt.get_unverified_header(token)
    keys = jwt.PyJWKSet.from_json(folder.jwks.read_text())
    claims = jwt.decode(
        token,
        keys[header["kid"]],
        algorithms=["EdDSA"],
        issuer=ISSUER,
        audience=AUDIENCE,
        options={"require": ["iss", "aud", "sub", "iat", "nbf", "exp"]},
    )
    assert header["typ"] == "at+jwt"
    assert claims["sub"] == "ada"
    assert claims["roles"] == ["sales", "admin"]
    assert claims["exp"] - claims["iat"] == 60


def test_the_published_keys_hold_no_private_part(folder: StateFolder) -> None:
    create_credentials(folder, _ROLES)
    assert '"d"' not in folder.jwks.read_text()


@pytest.mark.parametrize("roles", [[], ["boss"], ["sales", "boss"]])
def test_a_token_for_no_or_an_unknown_role_is_refused(folder: StateFolder, roles: list[str]) -> None:
    create_credentials(folder, _ROLES)
    with pytest.raises(LocalStackError, match=", ".join(ROLES)):
        issue_token(folder, roles)


def test_a_token_that_never_was_valid_is_refused(folder: StateFolder) -> None:
    create_credentials(folder, _ROLES)
    with pytest.raises(LocalStackError, match="at least 1 second"):
        issue_token(folder, ["sales"], ttl=0)


def _contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}
