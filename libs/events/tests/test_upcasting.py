"""What an older release wrote is read in today's form, one step after the other."""

import json
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libs.events.tests.later_releases import V1, V2, V3, VoucherEvent, calls_the_holder_so, counts_in_hundredths

from crm_events.adapter import AdapterRecord
from crm_events.envelope import Recorded, UnknownEventError, UnreadableEventError, event_id, from_document, to_document
from crm_events.event import Event, Sealed, Upcaster
from crm_events.registry import Registry

NOW = datetime(2026, 3, 1, 9, 30, 0, 125_000, UTC)
RELEASES: tuple[type[Event], ...] = (V1, V2, V3)
TODAY = Registry([V3])
TEXTS = st.text(min_size=1, max_size=20)
AMOUNTS = st.integers(0, 10**9)


def stored(event: Event, stream: UUID, sequence: int = 3) -> dict[str, Any]:
    written = Recorded(
        event_id(stream, sequence), "/crm/vouchers", stream, sequence, NOW, "ada", "story", "why", event, None
    )
    document: dict[str, Any] = json.loads(json.dumps(to_document(written)))
    return document


def sealed(stream: UUID, sequence: int = 3) -> Sealed:
    return Sealed(event=event_id(stream, sequence), subject=stream, key=uuid4(), box="AAAA")


@given(TEXTS, AMOUNTS, st.uuids())
def test_every_older_version_is_read_as_todays_class(name: str, amount: int, stream: UUID) -> None:
    today = V3(occurred_at=NOW, holder=name, amount=amount * 100, paid_by="unknown", gift=sealed(stream))
    block = today.gift
    older = (
        V1(occurred_at=NOW, name=name, amount=amount, gift=block),
        V2(occurred_at=NOW, holder=name, amount=amount, gift=block),
    )

    for event in (*older, today):
        assert from_document(stored(event, stream), TODAY).data == today


@given(st.sampled_from((V1, V2)), TEXTS, AMOUNTS, st.uuids(), st.integers(1, 2**31))
def test_the_envelope_and_the_sealed_block_pass_untouched(
    release: type[Event], name: str, amount: int, stream: UUID, sequence: int
) -> None:
    members = {"occurred_at": NOW, "name": name, "holder": name, "amount": amount, "gift": sealed(stream, sequence)}
    document = stored(release.model_validate(members), stream, sequence)

    read = to_document(from_document(document, TODAY))

    assert {**read, "type": 0, "data": 0} == {**document, "type": 0, "data": 0}
    assert read["type"] == V3.type_name()
    assert read["data"]["gift"] == document["data"]["gift"]


@given(TEXTS, AMOUNTS)
def test_each_release_reads_all_that_was_written_up_to_it_and_nothing_newer(name: str, amount: int) -> None:
    members = {"occurred_at": NOW, "name": name, "holder": name, "amount": amount, "paid_by": "card"}
    written = [stored(release.model_validate(members), uuid4()) for release in RELEASES]

    for deployed, release in enumerate(RELEASES):
        for version, document in enumerate(written):
            if version <= deployed:
                assert type(from_document(document, Registry([release])).data) is release
            else:
                with pytest.raises(UnknownEventError):
                    from_document(document, Registry([release]))


def test_no_upcaster_sees_a_personal_block() -> None:
    seen: list[dict[str, Any]] = []

    def step(data: dict[str, Any]) -> dict[str, Any]:
        seen.append(data)
        return {**data, "holder": data["name"], "gift": {"text": "made up"}}

    class Later(V2):
        upcasters = (step,)

    Later.__name__ = "VoucherSold"
    stream = uuid4()
    document = stored(V1(occurred_at=NOW, name="Ada", amount=1, gift=sealed(stream)), stream)

    event = from_document(document, Registry([Later]))

    assert event.data.personal == Sealed.model_validate(document["data"]["gift"])
    assert [sorted(data) for data in seen] == [["amount", "name", "occurred_at"]]
    assert document["data"]["gift"]


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))
)
def test_no_data_of_an_older_version_breaks_a_reader(data: Any) -> None:
    document = {**stored(V1(occurred_at=NOW, name="Ada", amount=1), uuid4()), "data": data}

    with pytest.raises(UnreadableEventError):
        from_document(document, TODAY)


def test_a_step_that_fails_is_named_and_its_data_is_not() -> None:
    document = stored(V1(occurred_at=NOW, name="Ada", amount=1), uuid4())
    del document["data"]["name"]
    document["data"]["secret"] = "ada@example.org"

    with pytest.raises(UnreadableEventError) as refused:
        from_document(document, TODAY)

    assert str(refused.value) == "crm.vouchers.VoucherSold.v1 cannot be read as version 2: its upcaster raised KeyError"


def test_an_adapters_record_of_an_older_version_is_read_under_the_same_identity() -> None:
    class Seen(AdapterRecord):
        namespace: ClassVar[UUID] = uuid4()
        where: str

    class Later(AdapterRecord):
        version: ClassVar[int] = 2
        namespace: ClassVar[UUID] = Seen.namespace
        upcasters = (lambda data: {"place": data["where"], **{n: v for n, v in data.items() if n != "where"}},)
        place: str

    Later.__name__ = "Seen"
    old = Seen(occurred_at=NOW, external_id="7", where="shop")
    document = {
        "type": Seen.type_name(),
        "source": "/a",
        "time": "2026-03-01T10:00:00Z",
        "data": json.loads(old.model_dump_json()),
    }

    event = from_document(document, Registry([Later]))

    assert event.data == Later(occurred_at=NOW, external_id="7", place="shop")
    assert event.id == old.identity("/a")


# -- what is registered


def test_a_registry_finds_todays_class_by_every_name_and_lists_it_once() -> None:
    names = [f"crm.vouchers.VoucherSold.v{version}" for version in (1, 2, 3)]

    assert [TODAY.find(name) for name in names] == [V3] * 3
    assert TODAY.find("crm.vouchers.VoucherSold.v4") is None
    assert list(TODAY) == [V3]
    assert list(TODAY.with_events([])) == [V3]
    assert V3.older_type_names() == tuple(names[:2])
    assert V1.older_type_names() == ()


def _third(*steps: Upcaster) -> type[Event]:
    return type("VoucherSold", (VoucherEvent,), {"version": 3, "upcasters": steps, "__module__": __name__})


@pytest.mark.parametrize(
    ("steps", "unread"), [((), "v1, crm.vouchers.VoucherSold.v2"), ((counts_in_hundredths,), "v1")]
)
def test_a_chain_that_leaves_a_version_unread_is_refused(steps: tuple[Upcaster, ...], unread: str) -> None:
    with pytest.raises(TypeError, match=f"nothing reads crm.vouchers.VoucherSold.{unread};"):
        Registry([_third(*steps)])


def test_a_chain_longer_than_there_are_versions_is_refused() -> None:
    steps = (calls_the_holder_so, counts_in_hundredths, counts_in_hundredths)

    with pytest.raises(TypeError, match="3 upcasters, more than it has older versions"):
        Registry([_third(*steps)])


def test_a_version_may_keep_a_class_of_its_own_instead_of_a_step() -> None:
    both = Registry([V1, _third(counts_in_hundredths)])

    assert both.find(V1.type_name()) is V1
    with pytest.raises(ValueError, match="two events are named"):
        Registry([V1, V2])
