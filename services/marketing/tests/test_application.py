"""What each command, and each interaction, does in a unit of work."""

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from crm_events.adapter import Channel, Direction
from crm_events.contacts import InteractionLogged
from crm_events.event import Event, Sealed
from crm_events.marketing import (
    CampaignCreated,
    CampaignLaunched,
    ContactEnrolled,
    EngagementRecorded,
    engagement_stream,
    enrolment_stream,
)
from crm_marketing.application import create_campaign, enrol_contact, launch_campaign
from crm_marketing.commands import CreateCampaign, EnrolContact, LaunchCampaign
from crm_marketing.policies import RecordEngagements
from crm_platform.errors import NotFound, VersionMismatch
from crm_platform.testing import SOME_TIME, Desk, recorded, story_id

B = TypeVar("B", bound=BaseModel)

CAMPAIGN = story_id("spring offer")
CONTACT = story_id("Ada")
INTERACTION = story_id("Ada's answer")
ENROLMENT = enrolment_stream(CAMPAIGN, CONTACT)
CREATED = CampaignCreated(name="Spring offer", channel=Channel.EMAIL, occurred_at=SOME_TIME)
LAUNCHED = CampaignLaunched(occurred_at=SOME_TIME)
ENROLLED = ContactEnrolled(campaign_id=CAMPAIGN, contact_id=CONTACT, occurred_at=SOME_TIME)


def interaction(campaign: UUID | None) -> InteractionLogged:
    return InteractionLogged(
        contact_id=CONTACT,
        source="web",
        channel=Channel.WEB,
        direction=Direction.INBOUND,
        campaign_id=campaign,
        content=Sealed(event=uuid4(), subject=CONTACT, key=uuid4(), box=""),
        occurred_at=SOME_TIME,
    )


def react(desk: Desk, logged: InteractionLogged) -> None:
    policy, event = RecordEngagements(), recorded(logged, subject=INTERACTION)
    desk.staging.prefetch(policy.streams(event))
    policy.react(event, desk.work)


def test_a_campaign_is_created_and_launched() -> None:
    desk = Desk(target=CAMPAIGN)
    create_campaign(CreateCampaign(name="Spring offer", channel=Channel.EMAIL), desk.work)
    campaign = launch_campaign(LaunchCampaign(), desk.work)
    assert (campaign.id, campaign.version) == (CAMPAIGN, 2)
    assert desk.staged() == [(CAMPAIGN, CREATED), (CAMPAIGN, LAUNCHED)]


def test_a_campaign_that_was_never_created_is_not_found() -> None:
    for attempt in (
        lambda desk: launch_campaign(LaunchCampaign(), desk.work),
        lambda desk: enrol_contact(EnrolContact(contact_id=CONTACT), desk.work),
    ):
        with pytest.raises(NotFound):
            attempt(Desk(target=CAMPAIGN))


def test_a_campaign_that_changed_since_it_was_read_is_not_launched() -> None:
    with pytest.raises(VersionMismatch):
        launch_campaign(LaunchCampaign(), Desk(target=CAMPAIGN, others={CAMPAIGN: [CREATED]}, if_match=2).work)


def test_an_enrolment_is_a_stream_of_its_own() -> None:
    desk = Desk(target=CAMPAIGN, others={CAMPAIGN: [CREATED, LAUNCHED]})
    enrolment = enrol_contact(EnrolContact(contact_id=CONTACT), desk.work)
    assert (enrolment.id, enrolment.version) == (ENROLMENT, 1)
    assert desk.staged() == [(ENROLMENT, ENROLLED)]


def test_a_repeated_enrolment_is_answered_with_the_same_one() -> None:
    desk = Desk(target=CAMPAIGN, others={CAMPAIGN: [CREATED, LAUNCHED], ENROLMENT: [ENROLLED]})
    enrolment = enrol_contact(EnrolContact(contact_id=CONTACT), desk.work)
    assert (enrolment.id, enrolment.version) == (ENROLMENT, 1)
    assert desk.staged() == []


def test_an_enrolment_is_no_campaign() -> None:
    desk = Desk(target=CAMPAIGN, others={CAMPAIGN: [ENROLLED]})
    with pytest.raises(NotFound):
        launch_campaign(LaunchCampaign(), desk.work)


def test_an_interaction_with_a_launched_campaign_is_recorded_as_an_engagement() -> None:
    desk = Desk(target=CAMPAIGN, others={CAMPAIGN: [CREATED, LAUNCHED]})
    react(desk, interaction(CAMPAIGN))
    engaged = EngagementRecorded(
        campaign_id=CAMPAIGN,
        contact_id=CONTACT,
        interaction_id=INTERACTION,
        channel=Channel.WEB,
        occurred_at=SOME_TIME,
    )
    assert desk.staged() == [(engagement_stream(INTERACTION), engaged)]
    assert desk.queries == [{CAMPAIGN, engagement_stream(INTERACTION)}]


def test_an_interaction_read_twice_is_recorded_once() -> None:
    desk = Desk(target=CAMPAIGN, others={CAMPAIGN: [CREATED, LAUNCHED]})
    react(desk, interaction(CAMPAIGN))
    react(desk, interaction(CAMPAIGN))
    assert len(desk.staged()) == 1


@pytest.mark.parametrize("history", [{}, {CAMPAIGN: [CREATED]}, {CAMPAIGN: [ENROLLED]}])
def test_an_interaction_with_no_launched_campaign_records_nothing(history: Mapping[UUID, list[Event]]) -> None:
    desk = Desk(target=CAMPAIGN, others=history)
    react(desk, interaction(CAMPAIGN))
    assert desk.staged() == []


def test_an_interaction_without_a_campaign_asks_nothing_of_the_store() -> None:
    desk = Desk(target=CAMPAIGN)
    react(desk, interaction(None))
    assert desk.staged() == []
    assert desk.queries == []
