"""One run: a plan is carried out on the real process, all is mended, and what came out is held to the promise."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Final

from forwarder.model import Feed
from tests.faults import bus_steps, checks, process_steps, source_steps
from tests.faults.plan import Step, told
from tests.faults.simulation_environment import MARGIN, SimulationEnvironment, start_simulation
from tests.faults.workload import USERS, WORKFLOWS
from tests.harness.process import eventually

WATCHED: Final = frozenset(Feed(workflow, USERS.get(workflow)) for workflow in WORKFLOWS)
"""What the settings name; discovery may add to it."""

ACTS: Final = source_steps.ACTS | bus_steps.ACTS | process_steps.ACTS

LONGEST_END: Final = 900.0
"""Simulated seconds in which every feed is read to the bottom once all is well, whatever waits it was told before."""


@dataclass(frozen=True)
class Result:
    """`figures` is what came out, `problems` what must not have."""

    seed: int
    plan: Sequence[Step]
    figures: Mapping[str, Any]
    problems: Sequence[str] = field(default_factory=list)
    reached: Sequence[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = sorted({step.kind for step in self.plan})
        did = ", ".join(f"{kind} {sum(step.kind == kind for step in self.plan)}" for kind in kinds)
        out = ", ".join(f"{name} {value}" for name, value in self.figures.items())
        lines = [f"seed {self.seed}, {len(self.plan)} steps", f"  did: {did}", f"  came out: {out}"]
        if self.problems:
            lines += [f"  plan: {told(self.plan)}", *(f"  PROBLEM {problem}" for problem in self.problems)]
        return "\n".join(lines)


def simulate(seed: int, plan: Sequence[Step], place: Path) -> Result:
    began = time.monotonic()
    with start_simulation(place, **api_of(seed)) as environment:
        for step in plan:
            environment.look()
            ACTS[step.kind](environment, Random(step.seed), step.word)  # noqa: S311 - a seed is the point
            time.sleep(environment.sim.real(step.pause))
        environment.look()
        _come_to_rest(environment)
        figures = _judge(environment)
        figures |= {
            "simulated hours": round(environment.sim.passed() / 3600, 2),
            "seconds": round(time.monotonic() - began),
        }
        return Result(seed, plan, figures, environment.problems, environment.driver.reached())


def api_of(seed: int) -> dict[str, Any]:
    """What Alloy's documentation leaves open, settled one way for each seed."""
    draw = Random(f"api {seed}")  # noqa: S311 - a seed is the point
    path_segments = draw.choice([{"workflow"}, {"workflows"}, {"workflow", "workflows"}])
    return {
        "page_base": draw.choice([0, 1]),
        "path_segments": frozenset(path_segments),
        "compress": draw.random() < 0.5,
    }


def _come_to_rest(environment: SimulationEnvironment) -> None:
    """All is well, and nothing new happens: every feed is read to the bottom, and what is owed goes out."""
    environment.mend()
    before = _deep_readings(environment)

    def is_done() -> bool:
        now = _deep_readings(environment)
        return (
            all(now.get(feed) not in {None, before.get(feed)} for feed in WATCHED) and environment.books().pending == 0
        )

    if not eventually(is_done, within=environment.sim.real(LONGEST_END) + MARGIN):
        environment.problem(f"it does not come to rest: {environment.books()}, {environment.parts()}")


def _deep_readings(environment: SimulationEnvironment) -> dict[Feed, datetime | None]:
    return {status.feed: status.checkpoint.full_scan_at for status in environment.feeds()}


def _judge(environment: SimulationEnvironment) -> dict[str, Any]:
    environment.run_command("check")
    letters = json.loads(environment.run_command("dead-letters", "list", "--json") or "[]")
    status = json.loads(environment.run_command("status", "--json") or "{}")
    environment.send(signal.SIGHUP)
    environment.visit()
    environment.stop()
    dead = {letter["execution_id"] for letter in letters}
    delivered = checks.deliveries(environment)
    environment.problems += checks.told(
        {
            "never read": checks.unread(environment),
            "lost": checks.lost(environment, dead) - checks.dropped(environment, dead),
            "lost to a missing bus": checks.dropped(environment, dead),
            "invented": checks.invented(environment, dead),
            "sent too often": checks.unexplained(environment),
            "requests in doubt after a crash": checks.too_many_in_flight(environment),
            "secrets told": checks.leaks(environment),
            "faults in the log": environment.log_faults(),
        }
    )
    return {
        "failed": len(environment.workload.failed),
        "listed": len(environment.alloy.api.listed_ids),
        "delivered": len(delivered),
        "dead": len(dead),
        "duplicates": sum(delivered.values()) - len(delivered),
        "dropped by a missing bus": len(environment.bridge.dropped),
        "counters": status.get("counters"),
        "starts": environment.counts["starts"],
        "crashes": len(environment.crashes),
        "audits": environment.counts["audits"],
        "visits": environment.counts["visits"],
        "requests": f"{len(environment.alloy.requests)}+{len(environment.bridge.served)}",
    }
