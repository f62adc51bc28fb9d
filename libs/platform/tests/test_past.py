"""What is known at a moment is a prefix of each stream, on either axis, and its documents are the fold of that."""

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from libs.platform.tests.kafka_topics import AUTHENTICATOR, as_record
from libs.platform.tests.purchases import noted, purchases_of
from libs.platform.tests.shop import EVENTS

from crm_events.topics import Topic
from crm_platform.folding import Documents, to_row
from crm_platform.history import events_of
from crm_platform.inbound import Inbound, RecordReader
from crm_platform.past import Axis, documents_after, known_at, steps
from crm_platform.projection import Place
from crm_platform.testing import SOME_TIME, fold_all, story_id

TOPIC = Topic("t.shop", partitions=1)
PURCHASES = purchases_of(TOPIC)
READER = RecordReader(EVENTS, PURCHASES.folds, AUTHENTICATOR)
STREAMS = [story_id(f"stream {n}") for n in range(3)]
instants = st.integers(0, 20).map(lambda n: SOME_TIME + timedelta(minutes=n))


@st.composite
def histories(draw: st.DrawFn) -> list[Inbound]:
    """Events of a few streams as they were recorded; each says of itself when it occurred, however late it came."""
    lengths = dict.fromkeys(STREAMS, 0)
    found: list[Inbound] = []
    for position, stream in enumerate(draw(st.lists(st.sampled_from(STREAMS), max_size=25)), 1):
        lengths[stream] += 1
        event = noted(stream, lengths[stream])
        occurred = event.data.model_copy(update={"occurred_at": draw(instants)})
        event = replace(event, time=SOME_TIME + timedelta(minutes=position), data=occurred)
        found.append(READER.read(as_record(TOPIC, position - 1, event, (position, position - 1))))
    return found


def _sequences(inbounds: list[Inbound]) -> dict[UUID, list[int]]:
    found = defaultdict[UUID, list[int]](list)
    for event in events_of(inbounds):
        found[event.subject].append(event.sequence)
    return found


@given(histories(), instants, st.sampled_from(Axis))
def test_what_is_known_at_a_moment_is_a_prefix_of_each_stream(history: list[Inbound], at: datetime, axis: Axis) -> None:
    known = _sequences(known_at(history, at, axis))
    assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in known.values())


@given(histories(), instants)
def test_by_recorded_time_all_is_known_that_was_recorded_by_then(history: list[Inbound], at: datetime) -> None:
    known = known_at(history, at, Axis.RECORDED)
    assert known == [inbound for inbound in history if inbound.event and inbound.event.time <= at]


@given(histories(), instants)
def test_by_occurred_time_nothing_is_known_that_was_not_true_yet(history: list[Inbound], at: datetime) -> None:
    known = known_at(history, at, Axis.OCCURRED)
    assert all(event.data.occurred_at <= at for event in events_of(known))
    whole = [s for s in STREAMS if all(e.data.occurred_at <= at for e in events_of(history) if e.subject == s)]
    assert all(_sequences(known)[stream] == _sequences(history)[stream] for stream in whole)


@given(histories())
def test_the_documents_are_those_of_the_fold_and_the_steps_lead_to_them(history: list[Inbound]) -> None:
    folded = {
        target: to_row(document)
        for target, document in fold_all(PURCHASES, events_of(history), Place("t.shop", 0)).items()
    }
    documents = documents_after(PURCHASES, history)
    assert {tuple(t): {**to_row(d), "_id": t.id} for t, d in documents.items()} == folded
    after: Documents = {}
    for step in steps(PURCHASES, history):
        for change in step.changes:
            assert change.before == after.get(change.target)
            after[change.target] = change.after
    assert after == documents
