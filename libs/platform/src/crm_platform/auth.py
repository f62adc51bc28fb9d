"""Who is asking, and what they may do: access tokens (RFC 9068), roles, and the dependencies that routes declare."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import orjson
from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from crm_platform.errors import Forbidden, Unauthenticated, Unavailable
from crm_platform.logging import get_logger
from crm_platform.metrics import TOKEN_KEY_FETCHES

ALGORITHMS = ("RS256", "ES256", "EdDSA")
TOKEN_TYPES = ("at+jwt", "application/at+jwt")
MAX_TOKEN_BYTES = 8 * 1024
MAX_JWKS_BYTES = 1024 * 1024
CLOCK_SKEW_SECONDS = 10
REMEMBERED_TOKENS = 4096
REMEMBERED_SECONDS = 300.0
FETCH_AT_MOST_EVERY = 10.0
FETCH_WITHIN = aiohttp.ClientTimeout(total=5)
FILE_AGE_SECONDS = 10.0
URL_AGE_SECONDS = 300.0

log = get_logger("crm_platform.auth")


class Role(StrEnum):
    SALES = "sales"
    SERVICE = "service"
    MARKETING = "marketing"
    ANALYST = "analyst"
    ADMIN = "admin"
    ADAPTER = "adapter"
    PRIVACY = "privacy"


STAFF = (Role.SALES, Role.SERVICE, Role.MARKETING, Role.ANALYST, Role.ADMIN)
"""Everybody who works with customers; an adapter is a program and reads nothing.

Privacy is a right of its own: to take out all that is held about a person, and to have it erased.
"""

_ROLES = {role.value: role for role in Role}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is asking: the token's subject and its roles."""

    subject: str
    roles: frozenset[Role]


class KeySet:
    """The public keys of the token issuer, by key id, read again when they are old or a key id is not among them.

    They are read at most once per `FETCH_AT_MOST_EVERY` seconds, whatever comes in. While they cannot be read, the
    keys last read keep serving.
    """

    def __init__(self, read: Callable[[], Awaitable[bytes]], max_age: float) -> None:
        self._read = read
        self._max_age = max_age
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried_at = float("-inf")
        self._reading = asyncio.Lock()
        self._refresh: asyncio.Task[None] | None = None

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self._tried_at < self._max_age

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """The key with that id, None if the issuer has none. Raises Unavailable if no key could ever be read."""
        key = self._keys.get(key_id)
        if key is None:
            await self._read_again()
        elif not self.fresh and (self._refresh is None or self._refresh.done()):
            self._refresh = asyncio.create_task(self._read_again())
        if not self._keys:
            raise Unavailable("The keys that verify access tokens cannot be read now; try again.")
        return key or self._keys.get(key_id)

    async def _read_again(self) -> None:
        async with self._reading:
            if time.monotonic() - self._tried_at < min(FETCH_AT_MOST_EVERY, self._max_age):
                return
            try:
                self._keys = _usable_keys(await self._read())
                TOKEN_KEY_FETCHES.labels("read").inc()
            except (OSError, aiohttp.ClientError, ValueError, TypeError, KeyError) as error:
                TOKEN_KEY_FETCHES.labels("failed").inc()
                log.warning("token keys cannot be read; the last ones keep serving", exc_info=error)
            finally:
                self._tried_at = time.monotonic()


def _usable_keys(document: bytes) -> dict[str, jwt.PyJWK]:
    """The signing keys of a JWKS document. One of another kind (encryption, symmetric) is passed over."""
    keys: dict[str, jwt.PyJWK] = {}
    for entry in orjson.loads(document)["keys"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(entry)
        except jwt.PyJWTError:
            continue
        if key.algorithm_name in ALGORITHMS:
            keys[entry["kid"]] = key
    if not keys:
        raise ValueError("the document holds no usable signing key")
    return keys


def key_set(source: str) -> KeySet:
    """The keys at a URL, or in a JWKS file."""
    if source.startswith(("https://", "http://")):
        return KeySet(lambda: _download(source), URL_AGE_SECONDS)
    return KeySet(lambda: asyncio.to_thread(Path(source).read_bytes), FILE_AGE_SECONDS)


async def _download(url: str) -> bytes:
    async with aiohttp.ClientSession(timeout=FETCH_WITHIN) as session, session.get(url) as answer:
        answer.raise_for_status()
        document = await answer.content.read(MAX_JWKS_BYTES + 1)
        if len(document) > MAX_JWKS_BYTES:
            raise ValueError("the document is too long")
        return document


class TokenVerifier:
    """Turns an access token into an Actor.

    `jwks` is the path of a file or a URL. A verified token is remembered until it expires, at most 5 minutes, so that
    a key the issuer withdraws stops working.
    """

    def __init__(self, jwks: str, issuer: str, audience: str) -> None:
        self._keys = key_set(jwks)
        self._issuer = issuer
        self._audience = audience
        self._remembered: OrderedDict[bytes, tuple[float, Actor]] = OrderedDict()

    async def verify(self, token: str) -> Actor:
        """Raises Unauthenticated, or Unavailable while there are no keys to verify it with."""
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthenticated(f"The token is longer than {MAX_TOKEN_BYTES} bytes.")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._remembered.get(digest)
        if known is not None and time.time() < known[0]:
            self._remembered.move_to_end(digest)
            return known[1]
        claims = await self._claims(token)
        actor = _actor(claims)
        self._remember(digest, min(float(claims["exp"]), time.time() + REMEMBERED_SECONDS), actor)
        return actor

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            if str(header.get("typ", "")).lower() not in TOKEN_TYPES:
                raise Unauthenticated("The token is not an access token: its typ is not at+jwt.")
            if header.get("alg") not in ALGORITHMS or not isinstance(header.get("kid"), str):
                raise Unauthenticated(f"The token must be signed with {', '.join(ALGORITHMS)}, by a key it names.")
            key = await self._keys.key(header["kid"])
            if key is None:
                raise Unauthenticated("The token is signed by a key that its issuer does not publish.")
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=CLOCK_SKEW_SECONDS,
                options={"require": ["iss", "aud", "sub", "iat", "exp"]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired: get a new one.") from None
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthenticated(f"The token is not valid here ({type(error).__name__}).") from None

    def _remember(self, digest: bytes, until: float, actor: Actor) -> None:
        self._remembered[digest] = (until, actor)
        while len(self._remembered) > REMEMBERED_TOKENS:
            self._remembered.popitem(last=False)


def _actor(claims: dict[str, Any]) -> Actor:
    roles = claims.get("roles", [])
    if not isinstance(roles, list) or not claims["sub"]:
        raise Unauthenticated("The token must name its subject, and its roles as a list.")
    return Actor(claims["sub"], frozenset(_ROLES[role] for role in roles if isinstance(role, str) and role in _ROLES))


class Guard(SecurityBase):
    """What stands before a route: a request must carry a token with one of the roles. No roles = any valid token.

    An admin may whatever others may, but for a right of its own (`admin` False): that must be given by its name.
    """

    def __init__(self, roles: tuple[Role, ...], *, admin: bool = True) -> None:
        self.model = HTTPBearer(bearerFormat="JWT", description="An access token (RFC 9068) with the claim `roles`.")
        self.scheme_name = "bearer"
        self._allowed = frozenset((*roles, Role.ADMIN) if admin else roles) if roles else None

    async def actor(self, request: Request) -> Actor:
        """Who is asking. Raises Unauthenticated, Forbidden, or Unavailable."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("Send an access token: Authorization: Bearer <token>.")
        verifier: TokenVerifier = request.app.state.verifier
        actor = await verifier.verify(token.strip())
        if self._allowed is not None and self._allowed.isdisjoint(actor.roles):
            raise Forbidden(f"This needs one of the roles {', '.join(sorted(self._allowed))}.")
        return actor


class Rights(Guard):
    """The dependency that yields the Actor."""

    async def __call__(self, request: Request) -> Actor:
        return await self.actor(request)


def require(*roles: Role) -> Rights:
    """A dependency that yields the Actor if it has one of the roles; an admin always may."""
    return Rights(roles)


authenticated = Rights(())
"""The dependency that yields the Actor of any valid token."""
