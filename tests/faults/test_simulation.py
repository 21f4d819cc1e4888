"""The promise, held to in short runs of the simulation; `soak.py` makes longer ones, from any seed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from forwarder.ledger import SqliteLedger
from tests.faults.control import POINTS
from tests.faults.plan import CARE, TRAFFIC, TROUBLE, calm_plan, deadly_plan, full_plan, plan
from tests.faults.simulation import ACTS, simulate

HALVES = (POINTS[::2], POINTS[1::2])


def test_a_plan_is_made_by_its_seed_alone() -> None:
    assert full_plan(7, 200) == full_plan(7, 200)
    assert full_plan(7, 200) != full_plan(8, 200)
    assert set(TRAFFIC | CARE | TROUBLE) == set(ACTS)


WRITES = re.compile(r"_writer\.write\(|_batcher\.settle\(")


def test_every_write_of_the_daemon_has_its_points_and_each_is_killed_at() -> None:
    """The deadly plans below kill at each of the points; here it is that no write is without one."""
    methods = [item for each in SqliteLedger.__mro__ for item in vars(each).items()]
    writes = {name for name, method in methods if WRITES.search(source_of(method))} - {"__aexit__"}
    acts = {point.partition(":")[0] for point in POINTS}
    assert writes - acts == {"retry_dead_letters", "purge_dead_letters", "replay"}, "one commit each, of a command"
    assert acts - writes == {"claim", "checkpoint"}, "before publishing, and what a record does as well"
    steps = [step for half in HALVES for step in deadly_plan(2, half)]
    assert {step.word for step in steps if step.kind == "kill at"} == set(POINTS)


def source_of(method: object) -> str:
    return inspect.getsource(method) if inspect.isfunction(method) else ""


def test_without_faults_nothing_is_lost_and_nothing_sent_twice(tmp_path: Path) -> None:
    result = simulate(1, calm_plan(1, 150), tmp_path)
    assert not result.problems, str(result)
    assert result.figures["duplicates"] == 0


def test_a_clock_that_jumps_back_and_forth_loses_nothing_and_sends_nothing_twice(tmp_path: Path) -> None:
    result = simulate(4, plan(4, 80, TRAFFIC | {"set clock": 20}), tmp_path)
    assert not result.problems, str(result)
    assert result.figures["duplicates"] == 0


@pytest.mark.long
@pytest.mark.parametrize("points", HALVES, ids=["one half", "the other"])
def test_nothing_is_lost_wherever_the_process_is_killed_between_two_writes(
    points: Sequence[str], tmp_path: Path
) -> None:
    result = simulate(2, deadly_plan(2, points), tmp_path)
    assert not result.problems, str(result)
    assert set(result.reached) == set(points)


def test_nothing_is_lost_while_everything_goes_wrong(tmp_path: Path) -> None:
    result = simulate(3, full_plan(3, 100), tmp_path)
    assert not result.problems, str(result)


@pytest.mark.long
@pytest.mark.parametrize("seed", [101, 102, 103, 104])
def test_nothing_is_lost_for_longer(seed: int, tmp_path: Path) -> None:
    result = simulate(seed, full_plan(seed, 1000), tmp_path)
    assert not result.problems, str(result)
