"""Who gets in: a token of the issuer, signed by a key it publishes, meant for us, valid now."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crm_platform.auth import FETCH_AT_MOST_EVERY, MAX_TOKEN_BYTES, Actor, KeySet, Role, TokenVerifier
from crm_platform.errors import Unauthenticated, Unavailable


@pytest.fixture
def verifier(issuer: Any, jwks_file: Path) -> TokenVerifier:
    claims = issuer.claims()
    return TokenVerifier(str(jwks_file), claims["iss"], claims["aud"])


@pytest.mark.parametrize("kid", ["rsa", "ed"])
async def test_a_good_token_names_its_subject_and_the_roles_that_we_know(
    verifier: TokenVerifier, issuer: Any, kid: str
) -> None:
    token = issuer.token(kid=kid, roles=["sales", "admin", "astronaut"])
    expected = Actor("anna", frozenset((Role.SALES, Role.ADMIN)))
    assert await verifier.verify(token) == expected
    assert await verifier.verify(token) == expected


def unsigned(issuer: Any) -> str:
    return jwt.encode(issuer.claims(), "", algorithm="none", headers={"kid": "rsa", "typ": "at+jwt"})


def signed_with_the_public_key(issuer: Any) -> str:
    """HS256 with the RSA public key as the secret; built by hand, since PyJWT refuses to."""
    pem = issuer.rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": "rsa", "typ": "at+jwt"}, issuer.claims())
    )
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head + b"." + body, pem)
    return b".".join((head, body, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


def signed_by_a_stranger(issuer: Any) -> str:
    stranger = ed25519.Ed25519PrivateKey.generate()
    return jwt.encode(issuer.claims(), stranger, algorithm="EdDSA", headers={"kid": "ed", "typ": "at+jwt"})


def with_other_claims(issuer: Any) -> str:
    """A good token's signature over another body."""
    head, _, signature = issuer.token().split(".")
    return ".".join((head, issuer.token(sub="berta").split(".")[1], signature))


ATTACKS = {
    "alg none": unsigned,
    "HS256 with the public key": signed_with_the_public_key,
    "a stranger's key": signed_by_a_stranger,
    "a key of another kind": lambda issuer: jwt.encode(
        issuer.claims(), issuer.rsa_key, algorithm="RS256", headers={"kid": "ed", "typ": "at+jwt"}
    ),
    "other claims": with_other_claims,
    "wrong audience": lambda issuer: issuer.token(aud="other"),
    "wrong issuer": lambda issuer: issuer.token(iss="https://evil.test"),
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 60),
    "not yet valid": lambda issuer: issuer.token(nbf=int(time.time()) + 300),
    "issued in the future": lambda issuer: issuer.token(iat=int(time.time()) + 300),
    "without expiry": lambda issuer: issuer.token(exp=None),
    "without audience": lambda issuer: issuer.token(aud=None),
    "without issuer": lambda issuer: issuer.token(iss=None),
    "without subject": lambda issuer: issuer.token(sub=None),
    "empty subject": lambda issuer: issuer.token(sub=""),
    "an id token": lambda issuer: issuer.token(typ="JWT"),
    "an unknown key": lambda issuer: jwt.encode(
        issuer.claims(), issuer.ed_key, algorithm="EdDSA", headers={"kid": "../../etc/passwd", "typ": "at+jwt"}
    ),
    "roles that are no list": lambda issuer: issuer.token(roles="admin"),
    "no token at all": lambda _: "x",
    "not ASCII": lambda _: "é.è.à",
    "huge": lambda issuer: issuer.token(padding="x" * MAX_TOKEN_BYTES),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_a_bad_token_is_refused(verifier: TokenVerifier, issuer: Any, attack: Any) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await verifier.verify(attack(issuer))
    assert "anna" not in str(refused.value)


async def test_a_token_is_remembered_until_it_expires_and_no_longer(verifier: TokenVerifier, issuer: Any) -> None:
    expires = int(time.time()) + 60
    await verifier.verify(issuer.token(exp=expires))
    assert [until for until, _ in verifier._remembered.values()] == [expires]
    await verifier.verify(issuer.token(exp=int(time.time()) - 5))  # within the allowed difference of clocks
    expired = [until for until, _ in verifier._remembered.values() if until < time.time()]
    assert len(expired) == 1  # kept, but not believed: it is verified again


@dataclass
class KeyServer:
    """Publishes keys over HTTP and counts how often it is asked."""

    document: dict[str, Any]
    url: str = ""
    asked: int = 0
    fails: bool = False

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=500) if self.fails else web.json_response(self.document)


@pytest_asyncio.fixture
async def key_server(issuer: Any) -> AsyncIterator[KeyServer]:
    server = KeyServer(issuer.jwks())
    app = web.Application()
    app.router.add_get("/jwks", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    yield server
    await runner.cleanup()


async def test_a_flood_of_unknown_keys_asks_the_issuer_once(key_server: KeyServer, issuer: Any) -> None:
    verifier = TokenVerifier(key_server.url, issuer.claims()["iss"], issuer.claims()["aud"])
    await verifier.verify(issuer.token())
    flood = [
        jwt.encode(issuer.claims(), issuer.ed_key, algorithm="EdDSA", headers={"kid": f"k{n}", "typ": "at+jwt"})
        for n in range(50)
    ]
    answers = await asyncio.gather(*(verifier.verify(token) for token in flood), return_exceptions=True)
    assert all(isinstance(answer, Unauthenticated) for answer in answers)
    assert key_server.asked == 1


def allow_reading_again(keys: KeySet) -> None:
    """As if the least time between two readings had passed."""
    keys._tried_at -= FETCH_AT_MOST_EVERY


async def test_a_new_key_is_found_when_a_token_names_it(key_server: KeyServer, issuer: Any) -> None:
    new_key = issuer.jwks()["keys"].pop()
    key_server.document = {"keys": issuer.jwks()["keys"][:1]}
    verifier = TokenVerifier(key_server.url, issuer.claims()["iss"], issuer.claims()["aud"])
    await verifier.verify(issuer.token(kid="rsa"))
    key_server.document["keys"].append(new_key)
    allow_reading_again(verifier._keys)
    assert (await verifier.verify(issuer.token(kid="ed"))).subject == "anna"


async def test_stale_keys_keep_serving_while_the_issuer_is_away(key_server: KeyServer, issuer: Any) -> None:
    verifier = TokenVerifier(key_server.url, issuer.claims()["iss"], issuer.claims()["aud"])
    await verifier.verify(issuer.token())
    key_server.fails = True
    verifier._keys._tried_at -= 3600
    assert (await verifier.verify(issuer.token(jti="another"))).subject == "anna"
    assert verifier._keys._refresh is not None
    await verifier._keys._refresh
    assert key_server.asked == 2
    assert (await verifier.verify(issuer.token(jti="a third"))).subject == "anna"


async def test_without_any_key_the_answer_is_to_try_again(key_server: KeyServer, issuer: Any) -> None:
    key_server.fails = True
    verifier = TokenVerifier(key_server.url, issuer.claims()["iss"], issuer.claims()["aud"])
    with pytest.raises(Unavailable):
        await verifier.verify(issuer.token())
    key_server.fails = False
    allow_reading_again(verifier._keys)
    assert (await verifier.verify(issuer.token())).subject == "anna"


async def test_a_changed_key_file_is_read_again(issuer: Any, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": issuer.jwks()["keys"][:1]}))
    verifier = TokenVerifier(str(file), issuer.claims()["iss"], issuer.claims()["aud"])
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuer.token(kid="ed"))
    file.write_text(json.dumps(issuer.jwks()))
    allow_reading_again(verifier._keys)
    assert (await verifier.verify(issuer.token(kid="ed"))).subject == "anna"


async def test_keys_for_other_uses_are_passed_over(issuer: Any, tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    symmetric = {"kty": "oct", "k": "c2VjcmV0", "kid": "oct", "alg": "HS256"}
    encrypting = {**issuer.jwks()["keys"][0], "kid": "enc", "use": "enc"}
    file.write_text(json.dumps({"keys": [symmetric, encrypting, {"kid": "odd"}, 5, *issuer.jwks()["keys"]]}))
    verifier = TokenVerifier(str(file), issuer.claims()["iss"], issuer.claims()["aud"])
    await verifier.verify(issuer.token())
    assert set(verifier._keys._keys) == {"rsa", "ed"}


async def test_the_door_tells_401_from_403(site: Any, issuer: Any) -> None:
    def bearer(token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    answer, _ = await site.ask("GET", "/whoami")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    for headers in ({"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}, bearer("x")):
        answer, _ = await site.ask("GET", "/whoami", headers=headers)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    answer, who = await site.ask("GET", "/whoami", headers=bearer(issuer.token(roles=[])))
    assert (answer.status, who) == (200, "anna")
    answer, problem = await site.ask("GET", "/service-only", headers=bearer(issuer.token()))
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (403, 'Bearer error="insufficient_scope"')
    assert problem["detail"] == "This needs one of the roles admin, service."
    for role in ("service", "admin"):
        answer, _ = await site.ask("GET", "/service-only", headers=bearer(issuer.token(roles=[role])))
        assert answer.status == 200
