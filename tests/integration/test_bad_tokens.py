"""Nobody reads or writes anything without a token that this platform's issuer signed, for a role that may."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt
import pytest
from at_rest import Accounts
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from door import Door

from crm_local.credentials import key_id, signing_key
from crm_local.tokens import AUDIENCE, ISSUER

Claims = dict[str, Any]
SUBJECT = "mallory"
NOBODY = "00000000-0000-4000-8000-00000000dead"
LEAD = {"party": {"email": "ann@example.org"}, "source": "web"}
BATCH = {
    "source": "mail",
    "interactions": [
        {
            "external_id": "unasked",
            "occurred_at": "2026-03-02T09:30:00Z",
            "channel": "email",
            "direction": "inbound",
            "party": {"email": "ann@example.org"},
        }
    ],
}
REQUESTS: tuple[tuple[str, str, object], ...] = (
    ("GET", "/api/leads", None),
    ("GET", "/api/customers?email=ann@example.org", None),
    ("GET", "/api/kpis", None),
    ("POST", "/api/leads", LEAD),
    ("POST", "/api/interactions", BATCH),
)


class Forger:
    """Makes tokens out of what everybody can see: a good one, and the issuer's public key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._header = {"kid": key_id(key), "typ": "at+jwt"}

    def claims(self, **changed: object) -> Claims:
        now = int(time.time())
        good = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "iat": now, "exp": now + 600, "roles": ["admin"]}
        return {name: value for name, value in {**good, "jti": str(uuid4()), **changed}.items() if value is not None}

    def issued(self, **changed: object) -> str:
        """As the issuer itself would sign it: only the claims may be wrong."""
        return jwt.encode(self.claims(**changed), self._key, "EdDSA", self._header)

    def of_type(self, kind: str) -> str:
        return jwt.encode(self.claims(), self._key, "EdDSA", {**self._header, "typ": kind})

    def by_another_key(self) -> str:
        return jwt.encode(self.claims(), Ed25519PrivateKey.generate(), "EdDSA", self._header)

    def by_an_unpublished_key(self) -> str:
        key = Ed25519PrivateKey.generate()
        return jwt.encode(self.claims(), key, "EdDSA", {**self._header, "kid": key_id(key)})

    def unsigned(self) -> str:
        return jwt.encode(self.claims(), "", "none", self._header)

    def signed_with_the_public_key(self, encoding: Encoding, form: PublicFormat) -> str:
        signed = ".".join((_part({**self._header, "alg": "HS256"}), _part(self.claims())))
        secret = self._key.public_key().public_bytes(encoding, form)
        return f"{signed}.{_base64url(hmac.digest(secret, signed.encode(), hashlib.sha256))}"

    def promoted(self) -> str:
        """A good token of an adapter, with other claims under its signature."""
        header, _, signature = self.issued(roles=["adapter"]).split(".")
        return f"{header}.{_part(self.claims())}.{signature}"


def _part(value: object) -> str:
    return _base64url(json.dumps(value).encode())


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@pytest.fixture
def forger(crm: Door) -> Forger:
    return Forger(signing_key(crm.stack.folder))


async def test_a_token_as_the_issuer_signs_it_is_accepted(crm: Door, forger: Forger) -> None:
    headers = {"Authorization": f"Bearer {forger.issued()}"}
    (await crm.send("GET", "/api/leads", role=None, headers=headers)).expect(200)


HEADERS: dict[str, Callable[[Forger], str]] = {
    "another scheme": lambda _: "Basic bWFsbG9yeTptYWxsb3J5",
    "no token": lambda _: "Bearer",
    "no JWT": lambda _: "Bearer mallory",
    "another key": lambda forger: f"Bearer {forger.by_another_key()}",
    "an unpublished key": lambda forger: f"Bearer {forger.by_an_unpublished_key()}",
    "alg none": lambda forger: f"Bearer {forger.unsigned()}",
    "HS256 with the raw public key": lambda forger: (
        f"Bearer {forger.signed_with_the_public_key(Encoding.Raw, PublicFormat.Raw)}"
    ),
    "HS256 with the public key in PEM": lambda forger: (
        f"Bearer {forger.signed_with_the_public_key(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)}"
    ),
    "claims replaced": lambda forger: f"Bearer {forger.promoted()}",
    "expired": lambda forger: f"Bearer {forger.issued(exp=int(time.time()) - 60)}",
    "never expires": lambda forger: f"Bearer {forger.issued(exp=None)}",
    "not yet valid": lambda forger: f"Bearer {forger.issued(nbf=int(time.time()) + 600)}",
    "another audience": lambda forger: f"Bearer {forger.issued(aud='shop')}",
    "another issuer": lambda forger: f"Bearer {forger.issued(iss='mallory')}",
    "nobody": lambda forger: f"Bearer {forger.issued(sub=None)}",
    "roles are no list": lambda forger: f"Bearer {forger.issued(roles='admin')}",
    "an id token": lambda forger: f"Bearer {forger.of_type('JWT')}",
    "too long": lambda forger: f"Bearer {forger.issued(note='x' * 7_000)}",
}


@pytest.mark.parametrize("authorization", HEADERS.values(), ids=HEADERS.keys())
async def test_a_token_that_the_issuer_did_not_give_opens_nothing(
    crm: Door, accounts: Accounts, forger: Forger, authorization: Callable[[Forger], str]
) -> None:
    headers = {"Authorization": authorization(forger)}
    async with accounts.nothing_stored():
        for method, path, body in REQUESTS:
            reply = await crm.send(method, path, role=None, headers=headers, json=body)
            assert reply.is_problem(401), f"{method} {path}: {reply.status} {reply.body}"
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")
            assert SUBJECT not in json.dumps(reply.body)


async def test_without_a_token_nothing_opens(crm: Door, accounts: Accounts) -> None:
    async with accounts.nothing_stored():
        for method, path, body in REQUESTS:
            reply = await crm.send(method, path, role=None, headers={}, json=body)
            assert reply.is_problem(401), f"{method} {path}: {reply.status} {reply.body}"
            assert reply.headers["WWW-Authenticate"] == "Bearer"


async def test_an_expired_token_says_so(crm: Door, forger: Forger) -> None:
    headers = {"Authorization": f"Bearer {forger.issued(exp=int(time.time()) - 60)}"}
    reply = await crm.send("GET", "/api/leads", role=None, headers=headers)
    assert "expired" in reply.body["detail"]


@pytest.mark.parametrize(
    ("role", "method", "path", "body"),
    [
        ("service", "POST", "/api/leads", LEAD),
        ("marketing", "POST", f"/api/leads/{NOBODY}/qualify", {"score": 80}),
        ("analyst", "POST", f"/api/opportunities/{NOBODY}/win", {}),
        ("sales", "POST", "/api/tickets", {"party": LEAD["party"], "channel": "email", "subject": "Help"}),
        ("sales", "POST", f"/api/tickets/{NOBODY}/resolve", {}),
        ("service", "POST", "/api/campaigns", {"name": "Spring", "channel": "email"}),
        ("analyst", "POST", "/api/contacts", {"name": "Ann"}),
        ("analyst", "PATCH", f"/api/contacts/{NOBODY}", {"name": "Ann"}),
        ("analyst", "POST", "/api/interactions", BATCH),
        ("adapter", "POST", "/api/leads", LEAD),
        ("adapter", "GET", "/api/leads", None),
        ("adapter", "GET", "/api/opportunities", None),
        ("adapter", "GET", "/api/tickets", None),
        ("adapter", "GET", "/api/contacts", None),
        ("adapter", "GET", "/api/campaigns", None),
        ("adapter", "GET", "/api/kpis", None),
        ("adapter", "GET", "/api/kpis/live", None),
        ("adapter", "GET", f"/api/customers/{NOBODY}", None),
        ("adapter", "GET", "/api/customers?email=ann@example.org", None),
        ("adapter", "GET", f"/api/customers/{NOBODY}/timeline?cursor=x", None),
    ],
)
async def test_a_role_opens_only_what_is_its_own(
    crm: Door, accounts: Accounts, role: str, method: str, path: str, body: object
) -> None:
    async with accounts.nothing_stored():
        reply = await crm.send(method, path, role=role, headers={}, json=body)
    assert reply.is_problem(403), f"{reply.status}: {reply.body}"
    assert "insufficient_scope" in reply.headers["WWW-Authenticate"]
