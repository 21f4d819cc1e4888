"""The promise, checked by short runs of the simulation. `soak.py` runs longer ones, from any seed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from forwarder.ledger import SqliteLedger
from tests.faults.control import POINTS
from tests.faults.plan import FAULTS, OPERATIONS, TRAFFIC, calm_plan, deadly_plan, full_plan, plan
from tests.faults.simulation import ACTIONS, simulate
from tests.harness.fork_server import use_fork_server

HALVES = (POINTS[::2], POINTS[1::2])


def test_plan_depends_on_its_seed_only() -> None:
    assert full_plan(7, 200) == full_plan(7, 200)
    assert full_plan(7, 200) != full_plan(8, 200)
    assert set(TRAFFIC | OPERATIONS | FAULTS) == set(ACTIONS)


WRITES = re.compile(r"_writer\.write\(|_batcher\.settle\(")


def test_every_write_has_points_and_a_plan_kills_at_each() -> None:
    """The long test below kills at each point. This test requires that every write has points."""
    methods = [item for each in SqliteLedger.__mro__ for item in vars(each).items()]
    writes = {name for name, method in methods if WRITES.search(source_of(method))} - {"__aexit__"}
    killable = {point.partition(":")[0] for point in POINTS}
    commands = {"retry_dead_letters", "purge_dead_letters", "replay", "replay_executions"}
    notice = {"save_retention_gap"}  # only for display, and after a day without any poll
    assert writes - killable == commands | notice, "one commit each"
    assert killable - writes == {"claim", "checkpoint"}, "before publishing, and a part of record"
    steps = [step for half in HALVES for step in deadly_plan(2, half)]
    assert {step.point for step in steps if step.kind == "kill at"} == set(POINTS)


def source_of(method: object) -> str:
    return inspect.getsource(method) if inspect.isfunction(method) else ""


def test_simulation_without_faults_loses_and_repeats_none(tmp_path: Path) -> None:
    result = simulate(1, calm_plan(1, 80), tmp_path)
    assert not result.problems, str(result)
    assert result.figures["duplicates"] == 0


@pytest.mark.long
def test_jumping_clock_loses_none_and_sends_none_twice(tmp_path: Path) -> None:
    result = simulate(4, plan(4, 80, TRAFFIC | {"set clock": 20}), tmp_path)
    assert not result.problems, str(result)
    assert result.figures["duplicates"] == 0


@pytest.mark.long
@pytest.mark.parametrize("points", HALVES, ids=["even points", "odd points"])
def test_kill_between_any_two_writes_loses_nothing(points: Sequence[str], tmp_path: Path) -> None:
    result = simulate(2, deadly_plan(2, points), tmp_path)
    assert not result.problems, str(result)
    assert set(result.kill_points) == set(points)


@pytest.mark.long
def test_all_faults_together_lose_nothing(tmp_path: Path) -> None:
    result = simulate(3, full_plan(3, 100), tmp_path)
    assert not result.problems, str(result)


@pytest.mark.long
@pytest.mark.parametrize("seed", [101, 102, 103, 104])
def test_all_faults_in_long_runs_lose_nothing(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed != 101:
        use_fork_server(monkeypatch)
    result = simulate(seed, full_plan(seed, 1000), tmp_path)
    assert not result.problems, str(result)
