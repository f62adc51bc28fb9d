"""Arbitrary valid events: built from the fields of the classes, so that a new event is covered the day it is added."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cache
from itertools import chain
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin
from uuid import UUID

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from pydantic import AwareDatetime, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from crm_events import EVENTS
from crm_events.adapter import Channel, InteractionRecorded
from crm_events.parties import Party

M = TypeVar("M", bound=BaseModel)

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=OFFSETS | st.just(UTC))  # noqa: DTZ001 - the zone is drawn
CENTS = st.integers(-(10**13), 10**13)
PLAIN: dict[Any, SearchStrategy[Any]] = {
    AwareDatetime: INSTANTS,
    UUID: st.uuids(),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    date: st.dates(),
    NoneType: st.none(),
}
LIMITS = ("min_length", "max_length", "pattern", "ge", "le")


def _limits(metadata: Iterable[Any]) -> dict[str, Any]:
    """What the marks on a field allow, however they are nested."""
    marks = list(chain.from_iterable(m.metadata if isinstance(m, FieldInfo) else (m,) for m in metadata))
    return {name: limit for mark in marks for name in LIMITS if (limit := getattr(mark, name, None)) is not None}


def _texts(limits: dict[str, Any]) -> SearchStrategy[str]:
    if "pattern" in limits:
        return st.from_regex(limits["pattern"], fullmatch=True).filter(lambda text: not text.endswith("\n"))
    return st.text(min_size=limits.get("min_length", 0), max_size=min(limits.get("max_length", 40), 40))


Drawn = Callable[[dict[str, Any]], SearchStrategy[Any]]
BOUNDED: dict[Any, Drawn] = {
    str: _texts,
    int: lambda limits: st.integers(limits.get("ge", -(2**63)), limits.get("le", 2**63 - 1)),
    Decimal: lambda limits: st.integers(100 * limits.get("ge", -(10**11)), 10**13).map(lambda c: Decimal(c).scaleb(-2)),
}


def _values(annotation: Any, metadata: Iterable[Any] = ()) -> SearchStrategy[Any]:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _values(parts[0], (*parts[1:], *metadata))
    if origin in (Union, UnionType):
        return st.one_of([_values(part, metadata) for part in parts])
    return _one(annotation, _limits(metadata)) if origin is None else _many(origin, parts)


def _many(origin: Any, parts: tuple[Any, ...]) -> SearchStrategy[Any]:
    if origin is dict:
        return st.dictionaries(_values(parts[0]), _values(parts[1]), max_size=4)
    assert origin is tuple, f"no strategy for {origin}"
    return st.lists(_values(parts[0]), max_size=3).map(tuple)


def _one(kind: Any, limits: dict[str, Any]) -> SearchStrategy[Any]:
    if kind in PLAIN:
        return PLAIN[kind]
    if kind in BOUNDED:
        return BOUNDED[kind](limits)
    return st.sampled_from(list(kind)) if issubclass(kind, Enum) else models(kind)


@cache
def _members(model: type[BaseModel]) -> SearchStrategy[dict[str, Any]]:
    fields = model.model_fields.items()
    return st.fixed_dictionaries(
        {name: _values(field.annotation, field.metadata) for name, field in fields if field.is_required()},
        optional={name: _values(field.annotation, field.metadata) for name, field in fields if not field.is_required()},
    )


@st.composite
def models(draw: DrawFn, model: type[M]) -> M:
    """A valid instance; members that may be absent are absent half of the time."""
    members = draw(_members(model))
    if issubclass(model, Party) and not any(members.values()):
        members["contact_id"] = draw(st.uuids())
    if issubclass(model, InteractionRecorded):
        members["attributes"] = members.get("attributes", {}) | draw(_attributes(members["channel"]))
    try:
        return model.model_validate(members)
    except ValidationError:
        reject()


@st.composite
def _attributes(draw: DrawFn, channel: Channel) -> dict[str, Any]:
    """What the attributes of an interaction must say, and may say."""
    attributes: dict[str, Any] = {}
    if channel is Channel.ORDER:
        attributes["amount"] = str(Decimal(draw(CENTS)).scaleb(-2))
        attributes["currency"] = draw(st.sampled_from(("EUR", "USD", "GBP")))
    if draw(st.booleans()):
        attributes["campaign_id"] = str(draw(st.uuids()))
    return attributes


for event in EVENTS:
    st.register_type_strategy(event, models(event))
