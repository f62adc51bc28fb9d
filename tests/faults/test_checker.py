"""The checker itself: each invariant is seen to fail on a small untruth, told to a platform that is well."""

from dataclasses import replace
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL
from tests.faults import invariants, telemetry
from tests.faults.load import Acknowledged
from tests.faults.rig import Rig


@pytest.mark.quick
@pytest.mark.row("checker", "an untruth for each invariant", "each is noticed")
async def test_each_untruth_is_noticed(rig: Rig) -> None:
    async with rig.under_load(writers=2) as trial:
        await trial.answered_by("sales", "service")
    reality, load = rig.reality, trial.load

    load.acknowledged["never"] = Acknowledged("sales", uuid4(), 1, "LeadCaptured")
    with pytest.raises(AssertionError, match="I1"):
        invariants.nothing_acknowledged_is_lost(reality, load)
    del load.acknowledged["never"]

    number = next(iter(load.acknowledged))
    load.refused[number] = 409
    with pytest.raises(AssertionError, match="I2: refused"):
        invariants.nothing_is_there_that_nobody_asked_for(reality, load)
    del load.refused[number]

    published = reality.published["crm.sales"]
    ghost = published[-1]._replace(position=published[-1].position + 1_000)
    published.append(ghost)
    with pytest.raises(AssertionError, match="I2: sales published"):
        invariants.nothing_is_there_that_nobody_asked_for(reality, load)
    published.pop()

    twice = next(row for row in reality.stored["service"] if row.event.correlation in load.acknowledged)
    reality.stored["service"].append(twice)
    with pytest.raises(AssertionError, match="more than once"):
        invariants.nothing_is_there_that_nobody_asked_for(reality, load)
    reality.stored["service"].pop()

    rows = reality.folds[0].rows
    name, row = next(iter(rows.items()))
    rows[name] = {**row, "version": 99}
    with pytest.raises(AssertionError, match="I3"):
        await invariants.every_read_model_is_the_fold_of_the_store(reality)
    rows[name] = row

    lost = published.pop()
    with pytest.raises(AssertionError, match="I4"):
        invariants.versions_are_gapless(reality)
    published.append(lost)

    _rewrite_first_events(rig, "state || ' '::bytea")
    with pytest.raises(AssertionError, match="I4: sales has broken links"):
        invariants.versions_are_gapless(reality)
    _rewrite_first_events(rig, "substr(state, 1, octet_length(state) - 1)")

    cursors = await reality.cursors()
    key, (offset, position) = next(item for item in cursors.items() if item[1][0] > 0)
    assert invariants.went_back(cursors, {**cursors, key: (offset - 1, position)})
    assert not invariants.went_back(cursors, cursors)

    with pytest.raises(AssertionError, match="I8"):
        await invariants.exactly_these_are_parked(reality, {("sales.leads.v1", "crm.sales", "nobody")})

    counted = await rig.counted()
    more = replace(counted, events={**counted.events, "sales": counted.events["sales"] + 1})
    with pytest.raises(AssertionError, match="I10"):
        telemetry.agree(counted, more, {"sales"}, exact=True)
    assert telemetry.loud({"sales": {("crm_parked_keys", ()): 1.0}})
    assert not telemetry.loud({"sales": {("crm_parked_keys", ()): 0.0}})


def _rewrite_first_events(rig: Rig, state: LiteralString) -> None:
    """Write the first event of every stream of sales in other bytes, which say the same."""
    with psycopg.connect(rig.stack.addresses.postgres_uri("sales")) as connection:
        sql = SQL("UPDATE store_events SET state = {} WHERE originator_version = 1").format(SQL(state))
        connection.execute(sql)
