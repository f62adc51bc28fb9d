"""The read model of campaigns."""

from crm_events.adapter import Channel
from crm_events.marketing import CampaignCreated, CampaignLaunched, ContactEnrolled, EngagementRecorded
from crm_events.topics import MARKETING
from crm_marketing.projections import CampaignCounts, CampaignRow, Campaigns
from crm_platform.projection import Place
from crm_platform.testing import SOME_TIME, fold_all, recorded, story_id

CAMPAIGN = story_id("spring offer")
CONTACT = story_id("Ada")
ENROLLED = ContactEnrolled(campaign_id=CAMPAIGN, contact_id=CONTACT, occurred_at=SOME_TIME)
ENGAGED = EngagementRecorded(
    campaign_id=CAMPAIGN,
    contact_id=CONTACT,
    interaction_id=story_id("Ada's answer"),
    channel=Channel.WEB,
    occurred_at=SOME_TIME,
)


def test_a_campaign_is_one_row_that_follows_its_launch() -> None:
    created = CampaignCreated(name="Spring offer", channel=Channel.EMAIL, occurred_at=SOME_TIME)
    rows = fold_all(
        Campaigns(),
        [
            recorded(created, subject=CAMPAIGN, sequence=1),
            recorded(CampaignLaunched(occurred_at=SOME_TIME), subject=CAMPAIGN, sequence=2),
        ],
    )
    assert rows == {
        (CampaignRow, str(CAMPAIGN)): CampaignRow(
            id=str(CAMPAIGN),
            version=2,
            name="Spring offer",
            channel="email",
            stage="launched",
            created_at=SOME_TIME,
            launched_at=SOME_TIME,
        )
    }


def test_counts_are_kept_apart_for_each_partition() -> None:
    here = fold_all(Campaigns(), [recorded(ENROLLED), recorded(ENROLLED), recorded(ENGAGED)], Place(MARKETING.name, 3))
    there = fold_all(Campaigns(), [recorded(ENGAGED)], Place(MARKETING.name, 5))
    assert not here.keys() & there.keys()
    counts = [document for document in (here | there).values() if isinstance(document, CampaignCounts)]
    assert {count.campaign_id for count in counts} == {str(CAMPAIGN)}
    assert (sum(c.enrolled for c in counts), sum(c.engaged for c in counts)) == (2, 2)
