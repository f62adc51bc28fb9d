"""One function per command: load, call one aggregate method, save."""

from crm_events.marketing import enrolment_stream
from crm_marketing.commands import CreateCampaign, EnrolContact, LaunchCampaign
from crm_marketing.domain import Campaign, Enrolment
from crm_platform.work import UnitOfWork


def create_campaign(command: CreateCampaign, work: UnitOfWork) -> Campaign:
    campaign = work.load(Campaign, work.target_id)
    campaign.create(command.name, command.channel, work.now)
    return work.save(campaign)


def launch_campaign(command: LaunchCampaign, work: UnitOfWork) -> Campaign:  # noqa: ARG001 - it has no members
    campaign = work.target(Campaign)
    campaign.launch(work.now)
    return work.save(campaign)


def enrol_contact(command: EnrolContact, work: UnitOfWork) -> Enrolment:
    campaign = work.target(Campaign)
    enrolment = work.load(Enrolment, enrolment_stream(campaign.id, command.contact_id))
    enrolment.enrol(campaign, command.contact_id, work.now)
    return work.save(enrolment)
