"""Every service with an event store destroys the keys that an erasure names (docs/adr/0020)."""

from typing import ClassVar

from crm_events.envelope import Recorded
from crm_events.erasures import SubjectsErased
from crm_events.topics import ERASURES, Topic
from crm_platform.policy import Policy, when
from crm_platform.work import UnitOfWork


class DestroyKeys(Policy):
    """Named after the service that it belongs to. A subject of another service has no key here: that is no error."""

    topics: ClassVar[tuple[Topic, ...]] = (ERASURES,)

    def __init__(self, service: str) -> None:
        self.name = f"{service}.destroy-keys"

    @when(SubjectsErased)
    def destroy(self, event: Recorded[SubjectsErased], work: UnitOfWork) -> None:
        for subject in event.data.subjects:
            work.destroy_key(subject)
