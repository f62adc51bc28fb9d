"""The invariants that hold after every fault, as one checker. Each raises AssertionError with what it found.

I1 no acknowledged command is lost        I5 a stored cursor never goes back
I2 nothing is there that nobody asked for I6 the platform heals by itself within 30 s
I3 every read model is the fold of the    I7 others do not notice: no errors, the customer view answers
   stored events                          I8 exactly the poisoned keys are parked
I4 per key the versions are 1, 2, 3, ..   I10 the metrics say what the stores say
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from ledger import EVENT_STORING
from tests.faults.load import Failure, Load, Viewer
from tests.faults.reality import Cursors, Published, Reality, Stored

from crm_events.contacts import InteractionLogged
from crm_events.topics import context_topic
from crm_platform.cursor import Arrival, Cursor, arrival
from crm_platform.testing import SOME_TIME

POLICY = "policy:"
SHOWN = 5


def nothing_acknowledged_is_lost(reality: Reality, load: Load) -> None:
    """I1: each acknowledged command is stored as it was answered, and once."""
    own = {service: _of_commands(stored) for service, stored in reality.stored.items()}
    missing = []
    for number, answer in load.acknowledged.items():
        events = own[answer.service].get(number, [])
        versions = {(e.event.subject, e.event.sequence) for e in events}
        if (answer.stream, answer.version) not in versions:
            missing.append(f"{answer} of command {number}: its events are {[str(e.event.id) for e in events]}")
    assert not missing, f"I1: {len(missing)} acknowledged commands are not stored, {missing[:SHOWN]}"
    logged = Counter(s.event.subject for s in reality.stored["contacts"] if isinstance(s.event.data, InteractionLogged))
    lost = [stream for stream in load.interactions if logged[stream] != 1]
    assert not lost, f"I1: {len(lost)} of {len(load.interactions)} interactions are not logged once, {lost[:SHOWN]}"


def nothing_is_there_that_nobody_asked_for(reality: Reality, load: Load) -> None:
    """I2: every stored event of a command was asked for once, a refused one left none, and Kafka shows no other."""
    for service, stored in reality.stored.items():
        for number, events in _of_commands(stored).items():
            if not number.startswith(load.run):
                continue
            assert number in load.sent, f"I2: {service} stored an event of command {number}, which nobody sent"
            assert number not in load.refused, f"I2: refused command {number} left {events}"
            kinds = Counter(e.event.data.type_name() for e in events)
            assert max(kinds.values()) == 1, f"I2: command {number} was carried out more than once: {dict(kinds)}"
    for service in EVENT_STORING:
        rows = {row.position: row for row in reality.stored[service]}
        for record in reality.published[context_topic(service)]:
            row = rows.get(record.position)
            assert row is not None, f"I2: {service} published position {record.position}, which it has not stored"
            assert record.value == row.state, f"I2: {service} published other bytes than it stored at {record.position}"
            assert record.key == str(row.event.subject).encode(), (
                f"I2: {service} published {record.position} under a false key"
            )


async def every_read_model_is_the_fold_of_the_store(reality: Reality) -> None:
    """I3."""
    for fold in reality.folds:
        kept = await reality.kept(fold)
        if kept != fold.rows:
            different = [name for name in {*kept, *fold.rows} if kept.get(name) != fold.rows.get(name)]
            shown = {name: (kept.get(name), fold.rows.get(name)) for name in sorted(different)[:2]}
            raise AssertionError(f"I3: {fold.projection.identity} differs in {len(different)} documents: {shown}")


def versions_are_gapless(reality: Reality) -> None:
    """I4: in the stores, each event linked to the one before it, and as an exact reader of the topics applies them."""
    for service in EVENT_STORING:
        assert not (broken := reality.broken_streams(service)), f"I4: {service} has streams with gaps: {broken[:SHOWN]}"
        assert not (broken := reality.broken_links(service)), f"I4: {service} has broken links: {broken[:SHOWN]}"
        applied = applied_of(reality.published[context_topic(service)])
        by_position = {row.position: row.event for row in reality.stored[service]}
        assert applied == sorted(by_position), (
            f"I4: {service} stored {len(by_position)} public events, a reader applies {len(applied)}:"
            f" {sorted(set(by_position) ^ set(applied))[:SHOWN]}"
        )
        versions: Counter[object] = Counter()
        for position in applied:
            event = by_position[position]
            versions[event.subject] += 1
            assert versions[event.subject] == event.sequence, f"I4: {service} at {position}: {event.subject} skips"


def applied_of(records: Iterable[Published]) -> list[int]:
    """The positions that a reader applies, in order; fails where a gap stays open."""
    cursors: dict[int, Cursor] = {}
    applied = []
    for record in records:
        cursor = cursors.get(record.partition, Cursor())
        match arrival(cursor, record.position, record.previous):
            case Arrival.NEXT:
                applied.append(record.position)
                cursor = cursor.applied(record.position, SOME_TIME)
            case Arrival.GAP:
                cursor = cursor.passed_over()
        cursors[record.partition] = cursor
    open_gaps = {partition: cursor.gap for partition, cursor in cursors.items() if cursor.gap is not None}
    assert not open_gaps, f"I4: gaps stay open: {open_gaps}"
    return sorted(applied)


def went_back(before: Cursors, after: Cursors, replayed: AbstractSet[str] = frozenset()) -> list[str]:
    """I5: the cursors that went back, or away, between two looks.

    In replayed topics a consumer looks back for what is missing, and a relay is set back: there the consumers'
    positions alone never go back.
    """
    return [
        f"I5: {key} went from {place} to {after.get(key)}"
        for key, place in before.items()
        if not (key[1] in replayed and key[2] < 0)
        and (key not in after or after[key][1] < place[1] or (after[key][0] < place[0] and key[1] not in replayed))
    ]


def others_noticed_nothing(load: Load, since: float, until: float, affected: AbstractSet[str]) -> None:
    """I7: between two moments only the affected services failed to answer."""
    noticed = [f for f in load.failures if since <= f.at <= until and f.service not in affected]
    assert not noticed, f"I7: {len(noticed)} failures of others than {set(affected)}: {_told(noticed)}"


def the_view_answered(viewer: Viewer, since: float, until: float) -> None:
    """I7: the gateway answered the customer view all the time."""
    answers = Counter(status for at, status in viewer.answers if since <= at <= until)
    assert answers, "I7: nobody asked for the customer view"
    assert set(answers) == {200}, f"I7: the customer view was answered {dict(answers)}"


async def exactly_these_are_parked(reality: Reality, poisoned: AbstractSet[tuple[str, str, str]] = frozenset()) -> None:
    """I8: (consumer, topic, key) of every parked key."""
    parked = await reality.parked()
    assert parked == poisoned, (
        f"I8: parked and not poisoned {parked - poisoned}, poisoned and not parked {poisoned - parked}"
    )


def nobody_got_a_wrong_answer(load: Load) -> None:
    """Part of I2 and I7: a good command is answered with success or with 'later', in the form of every refusal."""
    assert not load.wrong, f"{len(load.wrong)} wrong answers: {load.wrong[:SHOWN]}"


def _of_commands(stored: Sequence[Stored]) -> dict[str, list[Stored]]:
    """The events that commands asked for, by the command's number; what policies made of them is not meant."""
    found: dict[str, list[Stored]] = {}
    for row in stored:
        if not row.event.actor.startswith(POLICY):
            found.setdefault(row.event.correlation, []).append(row)
    return found


def _told(failures: Sequence[Failure]) -> dict[tuple[str, str], int]:
    return dict(Counter((failure.service, failure.what) for failure in failures))
