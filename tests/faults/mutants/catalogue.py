"""Deliberately broken copies of the code, and for each the row that must fail on it.

A mutant replaces `search`, which stands exactly once in its file, by `replacement`. Its `caught_by` is the narrowest
row that shows the fault: where that is a test of a part of the platform, `row` says for which fault it stands.
"""

from typing import NamedTuple

_PLATFORM = "libs/platform/src/crm_platform/"
_TESTS = "libs/platform/tests/"
_ROWS = "tests/faults/mechanism/"


class Mutant(NamedTuple):
    name: str
    row: str
    breaks: str
    file: str
    search: str
    replacement: str
    caught_by: str


MUTANTS = (
    Mutant(
        "a consumer that loses its database gives up",
        "F01 F38",
        "a restart of a part heals without a human",
        f"{_PLATFORM}projector.py",
        "(*kafka.TRANSIENT, mongo.MongoError)",
        "kafka.TRANSIENT",
        f"{_TESTS}test_consumer.py::test_where_the_cursors_cannot_be_read_nothing_is_read",
    ),
    Mutant(
        "a repeated command is decided anew",
        "F02",
        "a command id that is found is done",
        f"{_PLATFORM}event_store/committer.py",
        "self._store.store.select_replies(job.order.id for job in asked) if asked else {}",
        "self._store.store.select_replies(())",
        f"{_ROWS}test_crash_points.py::test_a_command_whose_process_died_is_carried_out_once",
    ),
    Mutant(
        "the reply is not stored with its events",
        "F02",
        "events and reply are one transaction",
        f"{_PLATFORM}event_store/committer.py",
        "            yield from after(positions)\n",
        "",
        f"{_ROWS}test_crash_points.py::test_a_command_whose_process_died_is_carried_out_once",
    ),
    Mutant(
        "the checkpoint is one too far",
        "F03",
        "the relay never steps over an event",
        f"{_PLATFORM}relay.py",
        "(self._topic.name, checkpoint.position, partitions)",
        "(self._topic.name, checkpoint.position + 1, partitions)",
        f"{_ROWS}test_crash_points.py::test_a_relay_that_died_is_followed_without_loss",
    ),
    Mutant(
        "acks are not waited for",
        "F08",
        "an event counts as published when Kafka has taken it",
        f"{_PLATFORM}relay.py",
        "        await asyncio.gather(*acks)\n",
        "        await asyncio.gather(*acks, return_exceptions=True)\n",
        f"{_ROWS}test_refused_record.py::test_a_record_that_kafka_refuses_is_not_counted_as_published",
    ),
    Mutant(
        "the chain of a partition is broken",
        "F03",
        "each record names the one before it in its partition",
        f"{_PLATFORM}outbox.py",
        "        last[partition] = position\n",
        "",
        f"{_TESTS}test_relay.py::test_each_partition_is_an_unbroken_chain",
    ),
    Mutant(
        "private events are published",
        "I2",
        "what Kafka shows was meant for it",
        f"{_PLATFORM}outbox.py",
        "            if not notification.topic.startswith(PRIVATE):\n",
        "            if notification.topic:\n",
        f"{_TESTS}test_relay.py::test_private_events_are_stored_and_not_published",
    ),
    Mutant(
        "the cursor is stored outside the transaction",
        "F04",
        "documents and cursor are one transaction",
        f"{_PLATFORM}mongo_cursors.py",
        "await self._collection.insert_one(row, session=session)",
        "await self._collection.insert_one(row)",
        f"{_ROWS}test_crash_points.py::test_a_projector_that_died_is_followed_without_loss",
    ),
    Mutant(
        "a policy's cursor is stored after its events",
        "F04",
        "a policy's events and its cursor are one transaction",
        f"{_PLATFORM}event_store/recorder.py",
        "            for guard in guards:\n                self._execute(cursor, guard)\n",
        "",
        f"{_TESTS}test_policy_runner.py::test_reaction_and_cursor_are_one_transaction",
    ),
    Mutant(
        "equal commands of one group are all carried out",
        "F05",
        "of equal commands at once one is carried out",
        f"{_PLATFORM}event_store/committer.py",
        "        firsts = list(by_id.values())\n",
        "        firsts = list(open_jobs)\n",
        f"{_TESTS}test_event_store.py::test_fifty_equal_commands_at_once_are_carried_out_once",
    ),
    Mutant(
        "a key stands for any command",
        "F05",
        "a key that comes with another command is refused",
        f"{_PLATFORM}event_store/committer.py",
        "    if fingerprint != job.order.fingerprint:\n",
        "    if not fingerprint:\n",
        f"{_TESTS}test_event_store.py::test_a_clients_id_with_another_command_is_refused",
    ),
    Mutant(
        "keys are made when they are needed",
        "F09",
        "commands need no Kafka for minutes",
        f"{_PLATFORM}key_pool.py",
        "READY_KEYS = 512",
        "READY_KEYS = 8",
        f"{_ROWS}test_without_kafka.py",
    ),
    Mutant(
        "a read model's cursor is moved without its guard",
        "F10",
        "a zombie writes nothing",
        f"{_PLATFORM}mongo_cursors.py",
        '                    "next_offset": before[place].next_offset,\n                    "resolved"',
        '                    "resolved"',
        f"{_TESTS}test_projector.py::test_a_zombie_cannot_write",
    ),
    Mutant(
        "a policy's cursor is moved without its guard",
        "F10",
        "a zombie appends nothing",
        f"{_PLATFORM}policy_store.py",
        "                    rows=1,\n                )\n            else:\n",
        "                )\n            else:\n",
        f"{_TESTS}test_policy_runner.py::test_a_zombie_appends_nothing",
    ),
    Mutant(
        "after a rebalance nobody seeks",
        "F11",
        "a member goes on where its cursor stands",
        f"{_PLATFORM}consumer.py",
        "            self._client.seek(place, self._start(place, cursor, beginnings[place], ends[place]))\n",
        "            self._start(place, cursor, beginnings[place], ends[place])\n",
        f"{_ROWS}test_slow_handler.py",
    ),
    Mutant(
        "after a rebalance the group's committed offset is believed",
        "F12",
        "only the own cursor says where to read",
        f"{_PLATFORM}consumer.py",
        "            self._client.seek(place, self._start(place, cursor, beginnings[place], ends[place]))\n",
        "            self._start(place, cursor, beginnings[place], ends[place])\n",
        f"{_TESTS}test_consumer.py::test_a_consumer_reads_from_its_own_cursor_whatever_the_group_has_committed",
    ),
    Mutant(
        "a batch is torn when the process is told to stop",
        "F13",
        "SIGTERM finishes what has begun",
        f"{_PLATFORM}finishing.py",
        "            await asyncio.wait([task], timeout=within)\n",
        "            pass\n",
        f"{_TESTS}test_finishing.py::test_a_batch_that_has_begun_is_finished_and_no_other_begins",
    ),
    Mutant(
        "a transient conflict is final",
        "F14 F15",
        "a transaction is tried again",
        f"{_PLATFORM}mongo.py",
        'if given_up or not failure.has_error_label("TransientTransactionError"):',
        "if failure:",
        f"{_TESTS}test_projector.py::test_a_conflict_with_another_writer_is_tried_again",
    ),
    Mutant(
        "one member's word is enough",
        "F16",
        "what is told as stored a majority has",
        f"{_PLATFORM}mongo.py",
        '        w="majority",\n',
        "        w=1,\n",
        f"{_ROWS}test_silent_majority.py",
    ),
    Mutant(
        "a store that gives no answer is an error of ours",
        "F17",
        "commands are answered with 'later'",
        f"{_PLATFORM}event_store/store.py",
        "        except TimeoutError as late:\n            raise Unavailable(",
        "        except TimeoutError as late:\n            raise RuntimeError(",
        f"{_TESTS}test_event_store_faults.py"
        "::test_while_postgresql_is_away_commands_are_answered_in_time_and_later_go_through",
    ),
    Mutant(
        "a service that does not answer is an error of ours",
        "F22",
        "the gateway answers for a service that cannot",
        "services/gateway/src/crm_gateway/services.py",
        "                raise Unavailable(",
        "                raise ValueError(",
        "services/gateway/tests/test_proxy.py::test_a_service_that_is_away_is_a_503_that_says_when_to_try_again",
    ),
    Mutant(
        "a stream's time follows the clock",
        "F23",
        "time never goes back in a stream",
        f"{_PLATFORM}work.py",
        "time=max(self.now, after[-1].time) if after else self.now",
        "time=self.now",
        f"{_ROWS}test_clocks.py",
    ),
    Mutant(
        "batches have no bound",
        "F33",
        "what is taken on at once is bounded",
        f"{_PLATFORM}consumer.py",
        "BATCH_RECORDS = 2_000",
        "BATCH_RECORDS = 2_000_000",
        f"{_ROWS}test_back_pressure.py",
    ),
    Mutant(
        "a repeat is applied",
        "storm",
        "an event has its effect once",
        f"{_PLATFORM}cursor.py",
        "    if position <= cursor.position:\n",
        "    if position < cursor.position:\n",
        f"{_TESTS}test_projector.py::test_an_effect_happens_once_however_batches_repeat",
    ),
    Mutant(
        "a gap is stepped over",
        "storm",
        "behind a gap nothing is applied",
        f"{_PLATFORM}cursor.py",
        "Arrival.NEXT if previous <= cursor.position else Arrival.GAP",
        "Arrival.NEXT",
        f"{_TESTS}test_projector.py::test_behind_a_gap_nothing_is_applied_until_it_is_closed",
    ),
)
