"""One function per command: load, call the aggregate, save. What one function saves commits together."""

from crm_events.contacts import party_stream
from crm_events.parties import Note
from crm_events.sales import Inquiry, OpportunityTitle
from crm_platform.identifiers import must_identify
from crm_platform.work import UnitOfWork
from crm_sales.commands import (
    CaptureLead,
    ChangeStage,
    ConvertLead,
    DisqualifyLead,
    LoseOpportunity,
    QualifyLead,
    WinOpportunity,
)
from crm_sales.domain.lead import Lead
from crm_sales.domain.opportunity import Opportunity


def capture_lead(command: CaptureLead, work: UnitOfWork) -> Lead:
    must_identify(command.party)
    lead = work.load(Lead, work.target_id)
    lead.capture(
        Inquiry(party=command.party, message=command.message), command.source, work.moment(command.occurred_at)
    )
    work.await_answer(party_stream(lead.id))
    return work.save(lead)


def qualify_lead(command: QualifyLead, work: UnitOfWork) -> Lead:
    lead = work.target(Lead)
    lead.qualify(command.score, work.now)
    return work.save(lead)


def disqualify_lead(command: DisqualifyLead, work: UnitOfWork) -> Lead:
    lead = work.target(Lead)
    lead.disqualify(command.reason, Note.of(command.note), work.now)
    return work.save(lead)


def convert_lead(command: ConvertLead, work: UnitOfWork) -> Lead:
    """One step: the lead is converted and its opportunity is open, or neither."""
    lead = work.target(Lead)
    opportunity = work.load(Opportunity, lead.convert(work.now))
    title = OpportunityTitle(title=command.title or _name_of(lead, work))
    opportunity.open(lead.id, title, command.value, command.expected_close, work.now)
    work.save(opportunity)
    return work.save(lead)


def change_stage(command: ChangeStage, work: UnitOfWork) -> Opportunity:
    opportunity = work.target(Opportunity)
    opportunity.move_to(command.stage, work.now)
    return work.save(opportunity)


def win_opportunity(command: WinOpportunity, work: UnitOfWork) -> Opportunity:
    opportunity = work.target(Opportunity)
    opportunity.win(command.value, work.now)
    return work.save(opportunity)


def lose_opportunity(command: LoseOpportunity, work: UnitOfWork) -> Opportunity:
    opportunity = work.target(Opportunity)
    opportunity.lose(command.reason, Note.of(command.note), work.now)
    return work.save(opportunity)


def _name_of(lead: Lead, work: UnitOfWork) -> str:
    inquiry = work.open(lead.inquiry, Inquiry) if lead.inquiry else None
    return (inquiry.party.name if inquiry else None) or f"Lead from {lead.source}"
