"""An opportunity: a deal on the table, until it is won or lost."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from crm_events.event import Event
from crm_events.parties import Money, Note
from crm_events.sales import (
    LossReason,
    OpportunityLost,
    OpportunityOpened,
    OpportunityStage,
    OpportunityStageChanged,
    OpportunityTitle,
    OpportunityWon,
)
from crm_platform.aggregate import Aggregate
from crm_platform.errors import AlreadyTaken, NotAllowed


class OpportunityStatus(StrEnum):
    OPEN = "open"
    WON = "won"
    LOST = "lost"


class Opportunity(Aggregate):
    lead_id: UUID
    stage: OpportunityStage
    value: Money

    def __init__(self, id: UUID) -> None:  # noqa: A002 - it is the opportunity's id
        super().__init__(id)
        self.status: OpportunityStatus | None = None

    @property
    def exists(self) -> bool:
        """A stream that began with anything but an opened opportunity is no opportunity."""
        return self.status is not None

    def open(
        self, lead_id: UUID, details: OpportunityTitle, value: Money, expected_close: date | None, at: datetime
    ) -> None:
        if self.version:
            raise AlreadyTaken(f"The opportunity {self.id} is open already; a lead becomes one opportunity only.")
        self.record(
            OpportunityOpened(
                lead_id=lead_id,
                value=value,
                stage=OpportunityStage.DISCOVERY,
                expected_close=expected_close,
                details=details,
                occurred_at=at,
            )
        )

    def move_to(self, stage: OpportunityStage, at: datetime) -> None:
        """Into another stage, forwards or back."""
        self._must_be_open(to="change its stage")
        if stage is self.stage:
            raise NotAllowed(f"The opportunity is in the stage {stage} already; name another stage.")
        self.record(OpportunityStageChanged(lead_id=self.lead_id, previous=self.stage, stage=stage, occurred_at=at))

    def win(self, value: Money | None, at: datetime) -> None:
        """The deal is closed; without a value it is worth what it was opened with."""
        self._must_be_open(to="be won")
        self.record(OpportunityWon(lead_id=self.lead_id, value=value or self.value, occurred_at=at))

    def lose(self, reason: LossReason, note: Note | None, at: datetime) -> None:
        self._must_be_open(to="be lost")
        self.record(OpportunityLost(lead_id=self.lead_id, reason=reason, note=note, occurred_at=at))

    def apply(self, event: Event) -> None:
        match event:
            case OpportunityOpened():
                self.status, self.lead_id = OpportunityStatus.OPEN, event.lead_id
                self.stage, self.value = event.stage, event.value
            case OpportunityStageChanged():
                self.stage = event.stage
            case OpportunityWon():
                self.status, self.value = OpportunityStatus.WON, event.value
            case OpportunityLost():
                self.status = OpportunityStatus.LOST

    def _must_be_open(self, *, to: str) -> None:
        if self.status is not OpportunityStatus.OPEN:
            raise NotAllowed(f"The opportunity is {self.status}; only an open opportunity can {to}.")
