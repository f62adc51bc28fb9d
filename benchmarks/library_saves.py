"""The eventsourcing library as its documentation shows it: an aggregate, and one `Application.save` for each lead."""

import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from psycopg.conninfo import conninfo_to_dict


class Lead(Aggregate):
    @event("Captured")
    def __init__(self, source: str, inquiry: dict[str, Any], occurred_at: datetime) -> None:
        self.source = source
        self.inquiry = inquiry
        self.occurred_at = occurred_at


class Leads(Application[UUID]):
    """Leads in PostgreSQL, with the library's own recorder."""


def open_leads(postgres_uri: str) -> Leads:
    parts = conninfo_to_dict(postgres_uri)
    return Leads(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            **{f"POSTGRES_{name.upper()}": str(parts[name]) for name in ("dbname", "host", "port", "user", "password")},
        }
    )


def save_for(leads: Leads, seconds: float) -> tuple[int, float]:
    """Save one lead after another for so long; how many, and in how many seconds."""
    saved, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        party = {"email": f"person-{uuid4().hex}@example.org", "name": "Ada Byron"}
        inquiry = {"party": party, "message": "Please call me back about the offer."}
        leads.save(Lead(source="web", inquiry=inquiry, occurred_at=datetime.now(UTC)))
        saved += 1
    return saved, elapsed
