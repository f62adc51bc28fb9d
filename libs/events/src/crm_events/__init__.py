"""The published language: every event once. Type names, schemas and catalogue follow from this list."""

from crm_events.adapter import InteractionRecorded, PersonDescribed
from crm_events.contacts import (
    ContactErased,
    ContactRegistered,
    ContactUpdated,
    ErasureAcknowledged,
    ErasureCompleted,
    ErasureRequested,
    ErasureWithdrawn,
    InteractionLogged,
    PartyResolved,
    PartyUnknown,
)
from crm_events.erasures import ErasureStepOrdered, ErasureStepTaken, SubjectsErased
from crm_events.event import Event
from crm_events.marketing import CampaignCreated, CampaignLaunched, ContactEnrolled, EngagementRecorded
from crm_events.registry import Registry
from crm_events.sales import (
    LeadCaptured,
    LeadConverted,
    LeadDisqualified,
    LeadLinked,
    LeadPartyUnknown,
    LeadQualified,
    OpportunityLost,
    OpportunityOpened,
    OpportunityStageChanged,
    OpportunityWon,
)
from crm_events.service import (
    TicketAssigned,
    TicketLinked,
    TicketOpened,
    TicketPartyUnknown,
    TicketReopened,
    TicketReplied,
    TicketResolved,
)

EVENTS: tuple[type[Event], ...] = (
    InteractionRecorded,
    PersonDescribed,
    ContactRegistered,
    ContactUpdated,
    InteractionLogged,
    PartyResolved,
    PartyUnknown,
    ErasureRequested,
    ErasureWithdrawn,
    ContactErased,
    ErasureAcknowledged,
    ErasureCompleted,
    LeadCaptured,
    LeadLinked,
    LeadPartyUnknown,
    LeadQualified,
    LeadDisqualified,
    LeadConverted,
    OpportunityOpened,
    OpportunityStageChanged,
    OpportunityWon,
    OpportunityLost,
    TicketOpened,
    TicketLinked,
    TicketPartyUnknown,
    TicketAssigned,
    TicketReplied,
    TicketResolved,
    TicketReopened,
    CampaignCreated,
    CampaignLaunched,
    ContactEnrolled,
    EngagementRecorded,
    SubjectsErased,
    ErasureStepOrdered,
    ErasureStepTaken,
)
REGISTRY = Registry(EVENTS)
