"""Facts of the sales service: leads and opportunities."""

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from crm_events.event import Event, Personal, Value
from crm_events.parties import LongText, Money, Note, Party, PlainDate, ShortText


class SalesEvent(Event):
    context: ClassVar[str] = "sales"


class Inquiry(Value):
    """Who showed interest, and in what words."""

    party: Party
    message: LongText | None = None


class LeadCaptured(SalesEvent):
    """Someone showed interest; the first fact of every lead."""

    source: str
    inquiry: Personal[Inquiry]


class LeadLinked(SalesEvent):
    """The lead's party is this contact."""

    contact_id: UUID


class LeadPartyUnknown(SalesEvent):
    """Contacts knows nobody for the lead's party; the lead stays without a contact."""

    reason: str


class LeadQualified(SalesEvent):
    """Worth pursuing. `score` runs from 0 to 100."""

    score: Annotated[int, Field(ge=0, le=100)]


class DisqualificationReason(StrEnum):
    NOT_INTERESTED = "not_interested"
    NO_BUDGET = "no_budget"
    NO_FIT = "no_fit"
    UNREACHABLE = "unreachable"
    DUPLICATE = "duplicate"
    SPAM = "spam"
    OTHER = "other"


class LeadDisqualified(SalesEvent):
    """Not worth pursuing, and why."""

    reason: DisqualificationReason
    note: Personal[Note] | None = None


class LeadConverted(SalesEvent):
    """The lead became an opportunity."""

    source: str
    opportunity_id: UUID


class OpportunityStage(StrEnum):
    """The open stages of a deal, in order."""

    DISCOVERY = "discovery"
    PROPOSAL = "proposal"
    NEGOTIATION = "negotiation"


class OpportunityTitle(Value):
    title: ShortText


class OpportunityEvent(SalesEvent):
    """A fact of a deal; it came from a lead, and the lead's key seals what is personal."""

    lead_id: UUID

    def data_subject(self, stream: UUID) -> UUID:  # noqa: ARG002 - the base names the argument
        return self.lead_id


class OpportunityOpened(OpportunityEvent):
    """A deal is on the table; the first fact of every opportunity."""

    value: Money
    stage: OpportunityStage
    expected_close: PlainDate | None = None
    details: Personal[OpportunityTitle]


class OpportunityStageChanged(OpportunityEvent):
    previous: OpportunityStage
    stage: OpportunityStage


class OpportunityWon(OpportunityEvent):
    """The deal is closed and worth `value`."""

    value: Money


class LossReason(StrEnum):
    PRICE = "price"
    COMPETITOR = "competitor"
    NO_DECISION = "no_decision"
    TIMING = "timing"
    NO_FIT = "no_fit"
    OTHER = "other"


class OpportunityLost(OpportunityEvent):
    """The deal is closed and lost, and why."""

    reason: LossReason
    note: Personal[Note] | None = None
