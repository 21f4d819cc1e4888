"""The plan of the fleet soak depends on the seed only, and has each kind of disruption."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.fleet_occurrences import LOST_BUS_REPLY, missing_kinds, occurred
from tests.faults.fleet_plan import GUARANTEED, JOIN, LONG_PAUSE, PAUSE, generator, plan_disruptions
from tests.faults.fleet_record import CUT_OFF, KILLED, PAUSED, Disturbance, Heartbeat, Membership, Record

ALL_KINDS = Counter(GUARANTEED)


@pytest.mark.parametrize("seed", range(20))
def test_plan_of_a_short_run_has_each_kind(seed: int) -> None:
    plan = [each for planned in plan_disruptions(seed, rounds=3, processes=4) for each in planned]
    assert set(GUARANTEED) <= {each.kind for each in plan if each.needs_member or each.kind == JOIN}
    assert [each.target for each in plan if each.kind == JOIN] == [4]
    assert all(each.seconds > 2 for each in plan if each.kind == LONG_PAUSE)


def test_plan_depends_on_its_seed_only() -> None:
    assert plan_disruptions(7, rounds=3, processes=4) == plan_disruptions(7, rounds=3, processes=4)
    assert plan_disruptions(7, rounds=3, processes=4) != plan_disruptions(8, rounds=3, processes=4)
    assert generator(7, "failures").random() != generator(7, "disruptions").random()


# Occurrences.


def test_kind_that_did_not_occur_is_a_problem() -> None:
    assert not missing_kinds(ALL_KINDS, {3})
    assert missing_kinds(ALL_KINDS - Counter([LONG_PAUSE]), {3}).endswith(LONG_PAUSE)
    assert missing_kinds(ALL_KINDS, ()).endswith(LOST_BUS_REPLY)


def test_disruption_counts_only_with_its_measured_effect() -> None:
    members = [Membership("aa", 1, 5.0, [Heartbeat(5.4, 1)]), Membership("ab", 1, 8.6)]
    long, short = Disturbance(PAUSED, 1, 6.0, 8.5), Disturbance(PAUSED, 1, 6.0, 7.9)
    early, without_faults = Disturbance(KILLED, 1, 4.0), Disturbance(CUT_OFF, 1, 6.0, 7.0)
    found = occurred(Record("process-0", members, [long, short, early, without_faults], joins_later=True))
    assert found == {LONG_PAUSE: 1, PAUSE: 1, JOIN: 1}
