"""The rules of campaigns, enrolments and engagements."""

from datetime import UTC, datetime

from crm_events.adapter import Channel
from crm_events.marketing import (
    CampaignCreated,
    CampaignLaunched,
    ContactEnrolled,
    EngagementRecorded,
    engagement_stream,
    enrolment_stream,
)
from crm_marketing.domain import Campaign, Engagement, Enrolment
from crm_platform.errors import NotAllowed
from crm_platform.testing import given, recorded, story_id

AT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
CAMPAIGN = story_id("spring offer")
CONTACT = story_id("Ada")
INTERACTION = story_id("Ada's answer")
CREATED = CampaignCreated(name="Spring offer", channel=Channel.EMAIL, occurred_at=AT)
LAUNCHED = CampaignLaunched(occurred_at=AT)
ENROLLED = ContactEnrolled(campaign_id=CAMPAIGN, contact_id=CONTACT, occurred_at=AT)
ENGAGED = EngagementRecorded(
    campaign_id=CAMPAIGN, contact_id=CONTACT, interaction_id=INTERACTION, channel=Channel.EMAIL, occurred_at=AT
)


def campaign(*history: CampaignCreated | CampaignLaunched | ContactEnrolled) -> Campaign:
    return Campaign.fold(
        CAMPAIGN, [recorded(event, subject=CAMPAIGN, sequence=n) for n, event in enumerate(history, 1)]
    )


def answer(engagement: Engagement, to: Campaign) -> None:
    engagement.answer(to, contact_id=CONTACT, interaction_id=INTERACTION, channel=Channel.EMAIL, at=AT)


def test_a_campaign_is_created() -> None:
    given(Campaign).when(lambda c: c.create("Spring offer", Channel.EMAIL, AT)).then(CREATED)


def test_a_campaign_is_not_created_under_an_id_in_use() -> None:
    given(Campaign, CREATED).when(lambda c: c.create("Another", Channel.SMS, AT)).refuses(NotAllowed, saying="in use")


def test_a_planned_campaign_is_launched() -> None:
    given(Campaign, CREATED).when(lambda c: c.launch(AT)).then(LAUNCHED)


def test_a_campaign_is_launched_once() -> None:
    given(Campaign, CREATED, LAUNCHED).when(lambda c: c.launch(AT)).refuses(NotAllowed, saying="already")


def test_a_launched_campaign_takes_a_contact() -> None:
    launched = campaign(CREATED, LAUNCHED)
    given(Enrolment).when(lambda e: e.enrol(launched, CONTACT, AT)).then(ENROLLED)


def test_a_planned_campaign_takes_no_contacts() -> None:
    planned = campaign(CREATED)
    given(Enrolment).when(lambda e: e.enrol(planned, CONTACT, AT)).refuses(NotAllowed, saying="launch it first")


def test_a_contact_is_enrolled_once() -> None:
    launched = campaign(CREATED, LAUNCHED)
    given(Enrolment, ENROLLED).when(lambda e: e.enrol(launched, CONTACT, AT)).then()


def test_an_interaction_answers_a_launched_campaign() -> None:
    launched = campaign(CREATED, LAUNCHED)
    given(Engagement).when(lambda e: answer(e, launched)).then(ENGAGED)


def test_an_interaction_answers_once() -> None:
    launched = campaign(CREATED, LAUNCHED)
    given(Engagement, ENGAGED).when(lambda e: answer(e, launched)).then()


def test_an_answer_to_a_planned_campaign_is_ignored() -> None:
    planned = campaign(CREATED)
    given(Engagement).when(lambda e: answer(e, planned)).then()


def test_an_answer_to_an_unknown_campaign_is_ignored() -> None:
    given(Engagement).when(lambda e: answer(e, Campaign(CAMPAIGN))).then()


def test_a_stream_of_another_kind_is_no_campaign() -> None:
    assert not campaign(ENROLLED).exists


def test_enrolments_and_engagements_have_streams_of_their_own() -> None:
    streams = {enrolment_stream(CAMPAIGN, CONTACT), engagement_stream(CONTACT), CAMPAIGN, CONTACT}
    assert len(streams) == 4
    assert enrolment_stream(CAMPAIGN, CONTACT) != enrolment_stream(CONTACT, CAMPAIGN)
