"""Access tokens for the local stack, signed with its own key pair."""

import time
import uuid
from collections.abc import Sequence

import jwt

from crm_local.credentials import key_id, signing_key
from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder

ISSUER = "crm-local"
AUDIENCE = "crm"
ROLES = ("sales", "service", "marketing", "analyst", "admin", "adapter", "privacy")
DEFAULT_TTL = 8 * 3600


def issue_token(folder: StateFolder, roles: Sequence[str], subject: str | None = None, ttl: int = DEFAULT_TTL) -> str:
    """A signed access token that carries `roles` and is valid for `ttl` seconds from now.

    Raises LocalStackError for no role, an unknown role, a `ttl` below 1, or before the stack's first start.
    """
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        named = f"unknown role {unknown[0]!r}" if unknown else "a token needs a role"
        raise LocalStackError(f"{named}: take one of {', '.join(ROLES)}")
    if ttl < 1:
        raise LocalStackError("a token must be valid for at least 1 second")
    now = int(time.time())
    key = signing_key(folder)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject or f"local-{roles[0]}",
        "iat": now,
        "nbf": now,
        "exp": now + ttl,
        "jti": str(uuid.uuid4()),
        "roles": list(roles),
    }
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": key_id(key), "typ": "at+jwt"})
