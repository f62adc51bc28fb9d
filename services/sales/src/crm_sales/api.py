"""The routes of sales; what they mean stands in the commands and the queries."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from crm_events.sales import OpportunityStage
from crm_platform.auth import STAFF, Role
from crm_platform.http.commands import CommandSender, Written, command_sender, names_one
from crm_platform.http.etags import Answer
from crm_platform.http.reads import Page, Paging, read_model
from crm_platform.read_model import ReadModel
from crm_sales.application import (
    capture_lead,
    change_stage,
    convert_lead,
    disqualify_lead,
    lose_opportunity,
    qualify_lead,
    win_opportunity,
)
from crm_sales.commands import (
    CaptureLead,
    ChangeStage,
    ConvertLead,
    DisqualifyLead,
    LoseOpportunity,
    QualifyLead,
    WinOpportunity,
)
from crm_sales.domain.lead import LeadStage
from crm_sales.domain.opportunity import OpportunityStatus
from crm_sales.projections.leads import Leads
from crm_sales.projections.opportunities import Opportunities
from crm_sales.queries.leads import LeadView, newest_leads, the_lead
from crm_sales.queries.opportunities import OpportunityView, newest_opportunities, the_opportunity

router = APIRouter()
one_lead = APIRouter(prefix="/leads/{id}", dependencies=[Depends(names_one)])
one_opportunity = APIRouter(prefix="/opportunities/{id}", dependencies=[Depends(names_one)])

SalesCommand = Annotated[CommandSender, Depends(command_sender(Role.SALES))]
LeadsRead = Annotated[ReadModel, Depends(read_model(Leads, *STAFF))]
OpportunitiesRead = Annotated[ReadModel, Depends(read_model(Opportunities, *STAFF))]


@router.post("/leads", status_code=201)
async def capture(command: CaptureLead, send: SalesCommand) -> Written:
    return await send(capture_lead, command)


@one_lead.post("/qualify")
async def qualify(command: QualifyLead, send: SalesCommand) -> Written:
    return await send(qualify_lead, command)


@one_lead.post("/disqualify")
async def disqualify(command: DisqualifyLead, send: SalesCommand) -> Written:
    return await send(disqualify_lead, command)


@one_lead.post("/convert")
async def convert(command: ConvertLead, send: SalesCommand) -> Written:
    """The answer names the lead; its opportunity is the lead's `opportunity_id`."""
    return await send(convert_lead, command)


@router.get("/leads")
async def leads(
    leads: LeadsRead, paging: Paging, stage: LeadStage | None = None, source: str | None = None
) -> Page[LeadView]:
    return await newest_leads(leads, paging, stage=stage, source=source)


@one_lead.get("")
async def lead(
    id: UUID,  # noqa: A002 - the path names it
    leads: LeadsRead,
    answer: Answer,
) -> LeadView:
    return answer(await the_lead(leads, id))


@one_opportunity.post("/stage")
async def stage(command: ChangeStage, send: SalesCommand) -> Written:
    return await send(change_stage, command)


@one_opportunity.post("/win")
async def win(command: WinOpportunity, send: SalesCommand) -> Written:
    return await send(win_opportunity, command)


@one_opportunity.post("/lose")
async def lose(command: LoseOpportunity, send: SalesCommand) -> Written:
    return await send(lose_opportunity, command)


@router.get("/opportunities")
async def opportunities(
    opportunities: OpportunitiesRead,
    paging: Paging,
    stage: OpportunityStage | None = None,
    status: OpportunityStatus | None = None,
) -> Page[OpportunityView]:
    return await newest_opportunities(opportunities, paging, stage=stage, status=status)


@one_opportunity.get("")
async def opportunity(
    id: UUID,  # noqa: A002 - the path names it
    opportunities: OpportunitiesRead,
    answer: Answer,
) -> OpportunityView:
    return answer(await the_opportunity(opportunities, id))


router.include_router(one_lead)
router.include_router(one_opportunity)
