"""What every event is: frozen, past tense, versioned, with at most one personal block."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar, get_args
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, WrapValidator

_ISO_8601 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")
_AS_WRITTEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3}(?:000)?)?Z")
"""The forms that we write ourselves: in UTC, to the millisecond."""


def _to_instant(value: object, parse: Callable[[object], datetime]) -> datetime:
    if isinstance(value, str) and _AS_WRITTEN.fullmatch(value):
        # Nearly all that is ever read, in a third of the time that a reader of any form takes.
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return _to_utc_milliseconds(parse(value))  # which tells why not
    if isinstance(value, int | float) or (isinstance(value, str) and not _ISO_8601.match(value)):
        raise ValueError("write a moment as ISO 8601 with its time zone, such as 2026-03-02T09:30:00Z")
    return _to_utc_milliseconds(parse(value))


def _to_utc_milliseconds(instant: datetime) -> datetime:
    milliseconds = instant.microsecond // 1000 * 1000
    if not instant.utcoffset():
        return instant.replace(microsecond=milliseconds, tzinfo=UTC)
    try:
        return instant.astimezone(UTC).replace(microsecond=milliseconds)
    except OverflowError as outside:
        raise ValueError("outside the years 1 to 9999 in UTC") from outside


Instant = Annotated[AwareDatetime, WrapValidator(_to_instant)]
"""A moment in UTC, to the millisecond: what every store behind the platform keeps exactly."""


def written(instant: datetime) -> str:
    """An Instant as documents and people are given it: RFC 3339, in UTC, to the millisecond."""
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Value(BaseModel):
    """A part of an event. Readers are tolerant: a member they do not know is passed over (docs/adr/0002)."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Sealed(Value):
    """A personal block as it is stored: AES-256-GCM under the data subject's key (docs/adr/0005).

    `event` is the id of the event that the block belongs to; with `subject` and `key` it is the associated data, so
    a block does not open anywhere but in its own event. `box` is base64 of nonce (12 bytes), ciphertext and tag.
    """

    event: UUID
    subject: UUID
    key: UUID
    box: str


class _PersonalBlock:
    """Marks the field that is sealed before its event is stored."""


Block = TypeVar("Block", bound=BaseModel)
Personal = Annotated[Sealed | Block, Field(union_mode="left_to_right"), _PersonalBlock()]
"""The personal block of an event: open where it is decided, sealed wherever it is stored."""


Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""A step from the `data` of one released version to that of the next: pure, and total over what was ever stored."""


class Event(BaseModel):
    """A fact of the business. Never edited once released: a change is a new version (docs/adr/0014).

    `occurred_at` is when it was true; when it was recorded stands in the envelope. `upcasters` are the steps that lead
    from older versions to this one, the oldest first.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    context: ClassVar[str]
    version: ClassVar[int] = 1
    upcasters: ClassVar[tuple[Upcaster, ...]] = ()
    public: ClassVar[bool] = True
    personal_field: ClassVar[str | None] = None
    _personal_class: ClassVar[type[BaseModel] | None] = None

    occurred_at: Instant

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        personal = [
            name for name, field in cls.model_fields.items() if _is_personal((field.annotation, *field.metadata))
        ]
        if len(personal) > 1:
            raise TypeError(
                f"{cls.__name__} has {len(personal)} personal blocks ({', '.join(personal)}); an event has one at most"
            )
        cls.personal_field = personal[0] if personal else None
        cls._personal_class = _block_class(cls.model_fields[personal[0]].annotation) if personal else None

    @classmethod
    @cache
    def type_name(cls) -> str:
        """The CloudEvents `type`: crm.<context>.<Name>.v<version>."""
        return cls._type_name(cls.version)

    @classmethod
    def older_type_names(cls) -> tuple[str, ...]:
        """The released versions that this class reads through its upcasters, the oldest first."""
        return tuple(map(cls._type_name, range(cls.version - len(cls.upcasters), cls.version)))

    @classmethod
    def _type_name(cls, version: int) -> str:
        return f"crm.{cls.context}.{cls.__name__}.v{version}"

    @property
    def personal(self) -> BaseModel | None:
        """The personal block, open or `Sealed`; None where the event has none."""
        return getattr(self, self.personal_field) if self.personal_field else None

    @classmethod
    def personal_class(cls) -> type[BaseModel]:
        """What the personal block is when it is open."""
        if cls._personal_class is None:
            raise TypeError(f"{cls.__name__} has no personal block")
        return cls._personal_class

    def with_personal(self, block: BaseModel) -> "Event":
        """The same event with its personal block replaced by its sealed or opened form."""
        if self.personal_field is None:
            raise TypeError(f"{type(self).__name__} has no personal block")
        return self.model_copy(update={self.personal_field: block})

    def data_subject(self, stream: UUID) -> UUID:
        """Whose key seals the personal block; `stream` is the id of the aggregate that records the event."""
        return stream


def _is_personal(annotations: tuple[Any, ...]) -> bool:
    return any(isinstance(a, _PersonalBlock) or _is_personal(get_args(a)) for a in annotations)


def _block_class(annotation: Any) -> type[BaseModel] | None:
    """The open block's class in `Personal[Block]`, wherever it is nested in the annotation."""
    for part in get_args(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel) and part is not Sealed:
            return part
        nested = _block_class(part)
        if nested is not None:
            return nested
    return None
