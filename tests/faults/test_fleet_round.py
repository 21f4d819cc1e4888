"""A round of the fleet soak, with stubs instead of processes."""

from __future__ import annotations

import time
from random import Random
from typing import Any, cast

import pytest

from tests.faults import soak_fleet
from tests.faults.fleet_disruptions import Disruptions
from tests.faults.fleet_environment import FleetEnvironment
from tests.faults.fleet_plan import KILL, Planned, generator


def test_round_is_the_same_however_fast_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the failures nor the disruptions change if a disruption has to wait."""
    monkeypatch.setattr(soak_fleet, "ROUND_SECONDS", 0.3)
    planned = [Planned(number / 20, KILL, number, 1.0, 0, needs_member=True) for number in range(4)]
    fast, slow = _run_stubs(planned, wait_seconds=0), _run_stubs(planned, wait_seconds=0.1)
    assert fast == slow
    assert fast[1] == planned


def _run_stubs(planned: list[Planned], wait_seconds: float) -> tuple[list[float], list[Planned]]:
    """Return the failures and the disruptions of a round, in which each disruption waits before it begins."""
    failures: list[float] = []
    begun: list[Planned] = []
    free_at = time.monotonic() + wait_seconds

    class Stub:
        problems: tuple[str, ...] = ()

        def fail(self, draw: Random) -> None:
            failures.append(draw.random())

        def begin(self, each: Planned) -> bool:
            nonlocal free_at
            if time.monotonic() < free_at:
                return False
            free_at = time.monotonic() + wait_seconds
            begun.append(each)
            return True

        def run_due(self) -> None: ...

        def finish(self) -> None: ...

    stub: Any = Stub()
    draw = generator(1, "failures")
    soak_fleet.run_round(cast(FleetEnvironment, stub), cast(Disruptions, stub), planned, draw, 20)
    return failures, begun
