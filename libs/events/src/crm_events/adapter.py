"""The contract of channel adapters: what they write to crm.interactions, over Kafka or through the gateway."""

from enum import StrEnum
from typing import Annotated, ClassVar, Self
from uuid import UUID, uuid5

from pydantic import ConfigDict, Field, ValidationError, model_validator

from crm_events.event import Event
from crm_events.parties import Address, Identifier, LongText, OrderValue, Party, PlainDate, ShortText

INTERACTION_NAMESPACE = UUID("6f6b7ad2-6a0e-5a35-9d5e-6d0f2f3c1b11")
PERSON_NAMESPACE = UUID("0f2f0f0e-6f0f-5c1c-8a53-70a2a3f6e2d7")

Attribute = str | int | float | bool | None


def names_an_adapter(source: str) -> str:
    """The CloudEvents `source` of an adapter; raises ValueError for one that is the platform's own."""
    if source.startswith("/crm/"):
        # It repeats nothing of what was sent, or a problem document would keep the reason back.
        raise ValueError("a source that begins so is one of the platform's own: name the adapter, as /adapters/mail")
    return source


class Channel(StrEnum):
    EMAIL = "email"
    CALL = "call"
    CHAT = "chat"
    SMS = "sms"
    LETTER = "letter"
    MEETING = "meeting"
    SOCIAL = "social"
    WEB = "web"
    ORDER = "order"
    NOTE = "note"


class Direction(StrEnum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"


class AdapterRecord(Event):
    """What an adapter may write. Idempotent on (source, external_id).

    Unknown members are refused: adapters are not trusted to mean what they do not say.
    """

    context: ClassVar[str] = "interactions"
    namespace: ClassVar[UUID]
    model_config = ConfigDict(frozen=True, extra="forbid")

    external_id: Annotated[
        str,
        Field(min_length=1, max_length=256, description="The adapter's own id of the fact; a repeat changes nothing"),
    ]

    def identity(self, source: str) -> UUID:
        """The id under which the platform knows this record: uuid5 of source and external id."""
        return uuid5(self.namespace, f"{len(source)}:{source}:{self.external_id}")


class InteractionRecorded(AdapterRecord):
    """Somebody and the business were in touch: a mail, a call, a visit, an order.

    An interaction of channel `order` carries the attributes `amount` (decimal, two places at most) and `currency`
    (ISO 4217).
    An answer to a campaign carries the attribute `campaign_id`.
    """

    namespace: ClassVar[UUID] = INTERACTION_NAMESPACE

    channel: Channel
    direction: Direction
    party: Party
    subject: ShortText | None = None
    body: LongText | None = None
    attributes: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=64)], Attribute], Field(max_length=64)
    ] = {}

    @model_validator(mode="after")
    def _attributes_fit_the_channel(self) -> Self:
        self.order_value()
        self.campaign_id()
        return self

    def order_value(self) -> OrderValue | None:
        """What an order was worth; None for any other channel."""
        if self.channel is not Channel.ORDER:
            return None
        try:
            return OrderValue.model_validate({name: self.attributes.get(name) for name in ("amount", "currency")})
        except ValidationError as wrong:
            named = " and ".join(f"attributes.{error['loc'][0]}" for error in wrong.errors())
            raise ValueError(
                f"{named}: an order has an amount (decimal, two places at most) and a currency (three capital letters)"
            ) from None

    def campaign_id(self) -> UUID | None:
        """The campaign that this interaction answers, if any."""
        campaign = self.attributes.get("campaign_id")
        try:
            return None if campaign is None else UUID(str(campaign))
        except ValueError:
            raise ValueError("attributes.campaign_id: must be a campaign's id (a UUID)") from None


class PersonDescribed(AdapterRecord):
    """A source describes a person it knows. Without an identifier it is a contact of its own, never matched by name."""

    namespace: ClassVar[UUID] = PERSON_NAMESPACE

    given_name: ShortText | None = None
    family_name: ShortText | None = None
    organisation: ShortText | None = None
    birth_date: PlainDate | None = None
    addresses: Annotated[tuple[Address, ...], Field(max_length=16)] = ()
    identifiers: Annotated[tuple[Identifier, ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _describes_somebody(self) -> Self:
        if not (self.given_name or self.family_name or self.organisation or self.identifiers):
            raise ValueError("a person needs a name, an organisation or an identifier")
        return self
