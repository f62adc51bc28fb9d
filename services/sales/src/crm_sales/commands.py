"""What people in sales want done. Bodies of requests are parsed straight into these."""

from collections.abc import Iterable
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from crm_events.event import Instant
from crm_events.parties import ONE_LINE, LongText, Money, Party, PlainDate, ShortText
from crm_events.sales import DisqualificationReason, LossReason, OpportunityStage
from crm_platform.command import Command
from crm_sales.domain.lead import opportunity_of

Source = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=ONE_LINE)]


class CaptureLead(Command):
    """`source` says where the interest was shown; `occurred_at` is for facts that are told late."""

    party: Party
    source: Source
    message: LongText | None = None
    occurred_at: Instant | None = None


class QualifyLead(Command):
    score: Annotated[int, Field(ge=0, le=100)]


class DisqualifyLead(Command):
    reason: DisqualificationReason
    note: LongText | None = None


class ConvertLead(Command):
    """Without a title the opportunity is named after the lead's party, or its source."""

    title: ShortText | None = None
    value: Money
    expected_close: PlainDate | None = None

    def streams(self, target: UUID) -> Iterable[UUID]:
        return (opportunity_of(target),)


class ChangeStage(Command):
    stage: OpportunityStage


class WinOpportunity(Command):
    """Without a value the deal is worth what it was opened with."""

    value: Money | None = None


class LoseOpportunity(Command):
    reason: LossReason
    note: LongText | None = None
