"""F23: clocks that are wrong, ours and others'; order follows versions and positions, never clocks."""

import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest
from tests.faults.rig import Rig

from crm_local.credentials import key_id, signing_key
from crm_local.tokens import AUDIENCE, ISSUER

HOUR = timedelta(hours=1)


def _token(rig: Rig, skew: float, life: float = 60.0) -> str:
    """As an issuer makes it whose clock is ahead of ours by `skew` seconds."""
    now, key = time.time() + skew, signing_key(rig.stack.folder)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "skewed", "iat": now, "nbf": now, "exp": now + life}
    headers = {"kid": key_id(key), "typ": "at+jwt"}
    return jwt.encode({**claims, "roles": ["analyst"]}, key, algorithm="EdDSA", headers=headers)


@pytest.mark.row(
    "F23", "an issuer's clock 5 s and 1 h off, both ways", "seconds are borne, an hour is refused with 401"
)
async def test_an_issuers_clock_may_be_seconds_off_and_not_more(rig: Rig) -> None:
    async def status(skew: float, life: float = 60.0) -> int:
        headers = {"Authorization": f"Bearer {_token(rig, skew, life)}"}
        return (await rig.door.send("GET", "/api/leads", role=None, headers=headers)).status

    assert [await status(5), await status(-5), await status(-65)] == [200, 200, 200]
    assert [await status(3_600), await status(-3_600)] == [401, 401]


@pytest.mark.row("F23", "clients' clocks 1 h ahead and behind, and 1 min ahead", "I1-I8 I10, order by version")
async def test_a_clients_clock_orders_nothing(rig: Rig) -> None:
    now = datetime.now(UTC)
    async with rig.under_load(writers=2):
        for told, expected in ((now + HOUR, 409), (now + timedelta(minutes=1), 201), (now - HOUR, 201)):
            body = {"party": {"handle": uuid4().hex}, "source": "faults", "occurred_at": told.isoformat()}
            reply = await rig.door.post("/api/leads", body, role="sales")
            assert (reply.status >= 400) == (expected >= 400), reply.body
    for stored in rig.reality.stored.values():
        times: dict[object, datetime] = {}
        for row in stored:
            event = row.event
            assert event.time >= times.get(event.subject, event.time), f"time goes back in {event.subject}"
            times[event.subject] = event.time
            assert event.data.occurred_at <= event.time + timedelta(seconds=1), f"{event.id} is told to come"
