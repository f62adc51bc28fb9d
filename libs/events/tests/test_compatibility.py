"""Which changes of a schema old readers and stored events survive: a table, and the claim itself on random schemas."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from jsonschema import Draft202012Validator

from crm_events import EVENTS
from crm_events.compatibility import Breaks, incompatible_changes, unreadable_blocks
from crm_events.schemas import OPENED, Schema, schema_for

OLD, STORED = Breaks.OLD_READERS, Breaks.STORED_EVENTS
TEXT: Schema = {"type": "string"}
NULL: Schema = {"type": "null"}
NUMBER: Schema = {"type": "integer"}


def of(member: Schema, *, required: bool = True) -> Schema:
    """An event's schema with one member `it`."""
    return {"type": "object", "properties": {"it": member}, "required": ["it"] if required else []}


def optional(*choices: Schema, default: Any = None) -> Schema:
    return {"anyOf": [*choices, NULL], "default": default}


def an_object(properties: dict[str, Schema], *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def limited(**limits: Any) -> Schema:
    return {"type": "string", **limits}


SURVIVED: dict[str, tuple[Schema, Schema]] = {
    "nothing": (of(TEXT), of(TEXT)),
    "an optional member is added": (an_object({}), an_object({"new": optional(TEXT)})),
    "an optional member with a default is added": (an_object({}), an_object({"new": {**NUMBER, "default": 0}})),
    "words": (of({**TEXT, "description": "This."}), of({**TEXT, "description": "That.", "title": "It"})),
    "a definition by another name": (
        {**of({"$ref": "#/$defs/Old"}), "$defs": {"Old": TEXT}},
        {**of({"$ref": "#/$defs/New"}), "$defs": {"New": TEXT}},
    ),
    "the order of choices": (of({"enum": ["a", "b"]}), of({"enum": ["b", "a"]})),
    "the order of alternatives": (of(optional(TEXT, NUMBER)), of({"anyOf": [NULL, NUMBER, TEXT], "default": None})),
    "a limit of no effect": (of(TEXT), of(limited(minLength=0))),
}
NOT_SURVIVED: dict[str, tuple[Schema, Schema, set[tuple[str, Breaks]]]] = {
    "a member is removed": (of(TEXT, required=False), an_object({}), {("it", OLD)}),
    "a required member is removed": (of(TEXT), an_object({}), {("it", OLD)}),
    "a member is renamed": (
        an_object({"old": TEXT}, "old"),
        an_object({"new": TEXT}, "new"),
        {("old", OLD), ("new", STORED)},
    ),
    "a required member is added": (an_object({}), an_object({"new": TEXT}, "new"), {("new", STORED)}),
    "an optional member is required": (of(TEXT, required=False), of(TEXT), {("it", STORED)}),
    "a required member is optional": (of(TEXT), of(TEXT, required=False), {("it", OLD)}),
    "another type": (of(TEXT), of(NUMBER), {("it", STORED), ("it", OLD)}),
    "a wider type": (of(NUMBER), of({"type": "number"}), {("it", OLD)}),
    "a narrower type": (of({"type": "number"}), of(NUMBER), {("it", STORED)}),
    "a further alternative": (of(TEXT), of({"anyOf": [TEXT, NUMBER]}), {("it", OLD)}),
    "an alternative less": (of({"anyOf": [TEXT, NUMBER]}), of(TEXT), {("it", STORED)}),
    "null is allowed": (of(TEXT), of({"anyOf": [TEXT, NULL]}), {("it", OLD)}),
    "null is refused": (of({"anyOf": [TEXT, NULL]}), of(TEXT), {("it", STORED)}),
    "a choice is added": (of({"enum": ["a"]}), of({"enum": ["a", "b"]}), {("it", OLD)}),
    "a choice is removed": (of({"enum": ["a", "b"]}), of({"enum": ["a"]}), {("it", STORED)}),
    "choices become free text": (of({**TEXT, "enum": ["a"]}), of(TEXT), {("it", OLD)}),
    "free text becomes choices": (of(TEXT), of({**TEXT, "enum": ["a"]}), {("it", STORED)}),
    "another constant": (of({"const": "a"}), of({"const": "b"}), {("it", OLD), ("it", STORED)}),
    "longer text": (of(limited(maxLength=5)), of(limited(maxLength=6)), {("it", OLD)}),
    "shorter text": (of(limited(maxLength=5)), of(limited(maxLength=4)), {("it", STORED)}),
    "unlimited text": (of(limited(maxLength=5)), of(TEXT), {("it", OLD)}),
    "limited text": (of(TEXT), of(limited(maxLength=5)), {("it", STORED)}),
    "text that may be empty": (of(limited(minLength=1)), of(TEXT), {("it", OLD)}),
    "text that may not be empty": (of(TEXT), of(limited(minLength=1)), {("it", STORED)}),
    "a higher maximum": (of({**NUMBER, "maximum": 1}), of({**NUMBER, "maximum": 2}), {("it", OLD)}),
    "a higher minimum": (of({**NUMBER, "minimum": 1}), of({**NUMBER, "minimum": 2}), {("it", STORED)}),
    "another pattern": (of(limited(pattern="a")), of(limited(pattern="b")), {("it", OLD), ("it", STORED)}),
    "a pattern is set": (of(TEXT), of(limited(pattern="b")), {("it", STORED)}),
    "a pattern is dropped": (of(limited(pattern="b")), of(TEXT), {("it", OLD)}),
    "a format is set": (of(TEXT), of(limited(format="uuid")), {("it", STORED)}),
    "more items": (
        of({"type": "array", "items": TEXT, "maxItems": 1}),
        of({"type": "array", "items": TEXT, "maxItems": 2}),
        {("it", OLD)},
    ),
    "other items": (
        of({"type": "array", "items": limited(maxLength=2)}),
        of({"type": "array", "items": limited(maxLength=1)}),
        {("it[]", STORED)},
    ),
    "other values of a map": (
        of({"type": "object", "additionalProperties": TEXT}),
        of({"type": "object", "additionalProperties": NUMBER}),
        {("it.*", STORED), ("it.*", OLD)},
    ),
    "a map instead of anything": (
        of({"type": "object"}),
        of({"type": "object", "additionalProperties": NUMBER}),
        {("it", STORED), ("it", OLD)},
    ),
    "another default": (of(optional(NUMBER, default=1)), of(optional(NUMBER, default=2)), {("it", STORED)}),
    "a member deep within": (
        {**of({"$ref": "#/$defs/Part"}), "$defs": {"Part": an_object({"x": TEXT})}},
        {**of({"$ref": "#/$defs/Part"}), "$defs": {"Part": an_object({"x": TEXT, "y": TEXT}, "y")}},
        {("it.y", STORED)},
    ),
    "a member of what is sealed": (
        {**of({**TEXT, OPENED: {"$ref": "#/$defs/Block"}}), "$defs": {"Block": an_object({"x": TEXT})}},
        {**of({**TEXT, OPENED: {"$ref": "#/$defs/Block"}}), "$defs": {"Block": an_object({"x": NUMBER})}},
        {("it, opened.x", STORED), ("it, opened.x", OLD)},
    ),
    "members are refused that it does not name": (
        an_object({}),
        {**an_object({}), "additionalProperties": False},
        {("", STORED)},
    ),
    "what is behind a keyword that nothing is known of": (
        {**of({"oneOf": [{"$ref": "#/$defs/Part"}]}), "$defs": {"Part": an_object({"x": TEXT})}},
        {**of({"oneOf": [{"$ref": "#/$defs/Part"}]}), "$defs": {"Part": an_object({"x": NUMBER})}},
        {("it", STORED), ("it", OLD)},
    ),
    "a keyword that nothing is known of": (of(NUMBER), of({**NUMBER, "multipleOf": 5}), {("it", STORED), ("it", OLD)}),
}


@pytest.mark.parametrize("change", SURVIVED)
def test_what_everybody_survives_is_not_named(change: str) -> None:
    assert incompatible_changes(*SURVIVED[change]) == []


@pytest.mark.parametrize("change", NOT_SURVIVED)
def test_what_somebody_does_not_survive_is_named_with_whom(change: str) -> None:
    before, now, expected = NOT_SURVIVED[change]

    assert {(found.member, found.breaks) for found in incompatible_changes(before, now)} == expected


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type_name())
def test_what_did_not_change_is_compatible(event: Any) -> None:
    assert incompatible_changes(schema_for(event), schema_for(event)) == []


def test_a_contract_for_those_who_write_may_grow_and_not_shrink() -> None:
    contract = {**an_object({"it": limited(maxLength=5)}), "additionalProperties": False}
    grown = {**an_object({"it": limited(maxLength=9), "new": optional(TEXT)}), "additionalProperties": False}

    assert incompatible_changes(contract, grown) == []
    assert {(c.member, c.breaks) for c in incompatible_changes(grown, contract)} == {("it", STORED), ("new", STORED)}


def test_a_value_that_contains_its_like_is_compared_to_its_end() -> None:
    def tree(leaf: Schema) -> Schema:
        node = an_object({"leaf": leaf, "branches": {"type": "array", "items": {"$ref": "#/$defs/Node"}}})
        return {**of({"$ref": "#/$defs/Node"}), "$defs": {"Node": node}}

    assert incompatible_changes(tree(TEXT), tree(TEXT)) == []
    assert {c.member for c in incompatible_changes(tree(TEXT), tree(limited(maxLength=1)))} == {"it.leaf"}


def test_a_change_is_told_in_words() -> None:
    (change,) = incompatible_changes(of(limited(maxLength=5)), of(limited(maxLength=6)))

    assert str(change) == (
        "it has 6 as the greatest length, it was 5: readers of the last release cannot take what would be written"
    )


def test_a_block_that_was_sealed_must_stay_readable_and_may_be_given_optional_members() -> None:
    def sealed(block: Schema) -> Schema:
        return {**of({**TEXT, OPENED: {"$ref": "#/$defs/Block"}}), "$defs": {"Block": block}}

    before = sealed(an_object({"x": TEXT}, "x"))

    assert unreadable_blocks(before, sealed(an_object({"x": TEXT, "y": optional(TEXT)}))) == []
    assert [c.member for c in unreadable_blocks(before, sealed(an_object({"y": TEXT}, "y")))] == ["it, opened.y"]
    assert [c.what for c in unreadable_blocks(before, of(TEXT))] == ["is no personal block any more"]


# -- the claim itself: what is called compatible is so, for every document


def texts() -> SearchStrategy[Schema]:
    limits = st.fixed_dictionaries({}, optional={"minLength": st.integers(0, 2), "maxLength": st.integers(2, 4)})
    return st.one_of(limits.map(lambda found: {**TEXT, **found}), st.just({**TEXT, "pattern": "^a*$"}))


def numbers() -> SearchStrategy[Schema]:
    limits = st.fixed_dictionaries({}, optional={"minimum": st.integers(-2, 0), "maximum": st.integers(1, 3)})
    return st.tuples(st.sampled_from(("integer", "number")), limits).map(lambda pair: {"type": pair[0], **pair[1]})


def choices() -> SearchStrategy[Schema]:
    return st.lists(st.sampled_from("abc"), min_size=1, unique=True).map(lambda found: {**TEXT, "enum": found})


def schemas() -> SearchStrategy[Schema]:
    return st.recursive(texts() | numbers() | choices() | st.just(NULL), _composed, max_leaves=5)


def _composed(parts: SearchStrategy[Schema]) -> SearchStrategy[Schema]:
    alternatives = st.lists(parts, min_size=1, max_size=3).map(lambda found: {"anyOf": found})
    arrays = st.tuples(parts, st.integers(1, 3)).map(
        lambda pair: {"type": "array", "items": pair[0], "maxItems": pair[1]}
    )
    return alternatives | arrays | objects(parts)


@st.composite
def objects(draw: DrawFn, parts: SearchStrategy[Schema]) -> Schema:
    properties = draw(st.dictionaries(st.sampled_from("xyz"), parts, max_size=3))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    closed = {"additionalProperties": False} if draw(st.booleans()) else {}
    return {"type": "object", "properties": properties, "required": required, **closed}


def documents(schema: Schema) -> SearchStrategy[Any]:
    """What may be written by the schema: of an object, the members that it names."""
    if "anyOf" in schema:
        return st.one_of([documents(option) for option in schema["anyOf"]])
    return WRITTEN[schema["type"]](schema)


def _texts_of(schema: Schema) -> SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    letters = "a" if "pattern" in schema else "abc"
    return st.text(letters, min_size=schema.get("minLength", 0), max_size=schema.get("maxLength", 5))


def _objects_of(schema: Schema) -> SearchStrategy[dict[str, Any]]:
    members = {name: documents(member) for name, member in schema["properties"].items()}
    required = {name: members.pop(name) for name in schema["required"]}
    return st.fixed_dictionaries(required, optional=members)


WRITTEN: dict[str, Callable[[Schema], SearchStrategy[Any]]] = {
    "null": lambda _: st.none(),
    "string": _texts_of,
    "integer": lambda schema: st.integers(schema.get("minimum", -3), schema.get("maximum", 4)),
    "number": lambda schema: st.floats(schema.get("minimum", -3), schema.get("maximum", 4)),
    "array": lambda schema: st.lists(documents(schema["items"]), max_size=schema["maxItems"]),
    "object": _objects_of,
}


@st.composite
def changed(draw: DrawFn, schema: Schema) -> Schema:
    """The schema with one part of it, anywhere, drawn anew, added or removed."""
    root = {"it": copy.deepcopy(schema)}
    place: Any = root
    name: Any = "it"
    while draw(st.booleans()):
        found = place[name]
        inner: list[tuple[Any, Any]] = [(found, "items")] if "items" in found else []
        inner += [(found["properties"], each) for each in found.get("properties", {})]
        inner += [(found["anyOf"], n) for n in range(len(found.get("anyOf", ())))]
        if not inner:
            break
        place, name = draw(st.sampled_from(inner))
    part = place[name]
    if part.get("type") == "object" and draw(st.booleans()):
        part["properties"][draw(st.sampled_from("xyz"))] = draw(schemas())
        part["required"] = sorted(set(part["required"]) & part["properties"].keys() - {draw(st.sampled_from("xyz"))})
    else:
        place[name] = draw(schemas())
    return root["it"]


@given(st.data())
def test_whatever_is_called_compatible_lets_every_document_through(data: st.DataObject) -> None:
    before = data.draw(schemas())
    now = data.draw(changed(before))
    broken = {change.breaks for change in incompatible_changes(of(before), of(now))}
    stored, written = data.draw(documents(before)), data.draw(documents(now))

    if STORED not in broken:
        assert Draft202012Validator(now).is_valid(stored), "an event that was stored cannot be read"
    if OLD not in broken:
        assert Draft202012Validator(before).is_valid(written), "a reader of the last release cannot take it"


@given(objects(schemas()), schemas())
def test_an_optional_member_may_be_added_to_any_open_object(before: Schema, member: Schema) -> None:
    before.pop("additionalProperties", None)
    grown = {**before, "properties": {**before["properties"], "new": member}}

    assert incompatible_changes(before, grown) == []
