"""The single customer view as it is read here. A tolerant reader: what it does not show it does not ask for."""

from datetime import date, datetime
from decimal import Decimal

from pydantic import AwareDatetime, BaseModel

from crm_events.parties import Identifier, Profile
from crm_events.sales import Inquiry
from crm_events.service import TicketRequest


class Amount(BaseModel):
    amount: Decimal
    currency: str


class Words(BaseModel):
    """What was said: an interaction's content, or a reply to a ticket, which has a body only."""

    subject: str | None = None
    body: str | None = None


class Touch(BaseModel):
    """An entry of the timeline: an interaction, or a reply to a ticket."""

    kind: str
    occurred_at: AwareDatetime
    channel: str | None = None
    direction: str
    source: str | None = None
    order: Amount | None = None
    campaign_id: str | None = None
    content: Words | None = None


class Timeline(BaseModel):
    items: list[Touch] = []
    next: str | None = None


class Lead(BaseModel):
    source: str
    stage: str
    score: int | None = None
    reason: str | None = None
    captured_at: AwareDatetime
    inquiry: Inquiry | None = None

    @property
    def is_open(self) -> bool:
        return self.stage in {"new", "qualified"}


class Opportunity(BaseModel):
    title: str | None = None
    status: str
    stage: str
    value: Amount
    expected_close: date | None = None
    opened_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    loss_reason: str | None = None

    @property
    def is_open(self) -> bool:
        return self.status == "open"


class Ticket(BaseModel):
    channel: str
    priority: str
    status: str
    agent: str | None = None
    replies: int = 0
    opened_at: AwareDatetime
    resolved_at: AwareDatetime | None = None
    request: TicketRequest | None = None

    @property
    def is_open(self) -> bool:
        return self.status == "open"


class Engagement(BaseModel):
    channel: str
    occurred_at: AwareDatetime


class Campaign(BaseModel):
    id: str
    name: str | None = None
    enrolled_at: AwareDatetime | None = None
    engagements: list[Engagement] = []


class Totals(BaseModel):
    orders: int
    revenue: dict[str, Decimal] = {}
    interactions: int
    last_contact_at: datetime | None = None


class Freshness(BaseModel):
    age_seconds: float | None = None
    stale: bool


class CustomerView(BaseModel):
    """The customer on one page, as the gateway answers it."""

    contact_id: str
    erased: bool = False
    source: str | None = None
    registered_at: AwareDatetime | None = None
    profile: Profile | None = None
    identifiers: list[Identifier] = []
    timeline: Timeline
    leads: list[Lead] = []
    opportunities: list[Opportunity] = []
    tickets: list[Ticket] = []
    campaigns: list[Campaign] = []
    totals: Totals
    complete: bool = True
    freshness: dict[str, Freshness] = {}
