"""The routes of marketing; what they mean stands in the commands and the queries."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends

from crm_marketing.application import create_campaign, enrol_contact, launch_campaign
from crm_marketing.commands import CreateCampaign, EnrolContact, LaunchCampaign
from crm_marketing.domain import CampaignStage
from crm_marketing.projections import Campaigns
from crm_marketing.queries import CampaignView, newest_campaigns, the_campaign
from crm_platform.auth import STAFF, Role
from crm_platform.http.commands import CommandSender, Written, command_sender, names_one
from crm_platform.http.reads import Page, Paging, read_model
from crm_platform.read_model import ReadModel

LAUNCH = LaunchCampaign()
"""The command says nothing more than its route, so its body may be left out."""

router = APIRouter()
one_campaign = APIRouter(prefix="/campaigns/{id}", dependencies=[Depends(names_one)])

MarketingCommand = Annotated[CommandSender, Depends(command_sender(Role.MARKETING))]
CampaignsRead = Annotated[ReadModel, Depends(read_model(Campaigns, *STAFF))]


@router.post("/campaigns", status_code=201)
async def create(command: CreateCampaign, send: MarketingCommand) -> Written:
    return await send(create_campaign, command)


@one_campaign.post("/launch")
async def launch(send: MarketingCommand, command: LaunchCampaign = LAUNCH) -> Written:
    return await send(launch_campaign, command)


@one_campaign.post("/enrol")
async def enrol(command: EnrolContact, send: MarketingCommand) -> Written:
    """The answer names the enrolment; enrolling the contact again is answered with the same one.

    Whether the contact exists is not asked: that is contacts' to know.
    """
    return await send(enrol_contact, command)


@router.get("/campaigns")
async def campaigns(campaigns: CampaignsRead, paging: Paging, stage: CampaignStage | None = None) -> Page[CampaignView]:
    return await newest_campaigns(campaigns, paging, stage=stage)


@one_campaign.get("")
async def campaign(id: UUID, campaigns: CampaignsRead) -> CampaignView:  # noqa: A002 - the path names it
    """It has no ETag: its counts change while its version does not. `version` is for If-Match."""
    return await the_campaign(campaigns, id)


router.include_router(one_campaign)
