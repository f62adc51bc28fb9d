"""What people ask of marketing."""

from collections.abc import Iterable
from uuid import UUID

from crm_events.adapter import Channel
from crm_events.marketing import enrolment_stream
from crm_events.parties import ShortText
from crm_platform.command import Command


class CreateCampaign(Command):
    """Plan a campaign; `channel` is how it speaks to people."""

    name: ShortText
    channel: Channel


class LaunchCampaign(Command):
    """Let the campaign speak: from now on it takes contacts and answers."""


class EnrolContact(Command):
    """Put a contact into a launched campaign. A repeat is answered with the same enrolment."""

    contact_id: UUID

    def streams(self, target: UUID) -> Iterable[UUID]:
        return (enrolment_stream(target, self.contact_id),)
