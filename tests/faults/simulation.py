"""One run of a simulation: execute a plan on the real process, repair everything, and check the results."""

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
from tests.faults.plan import Step, summary
from tests.faults.simulation_environment import SimulationEnvironment, start_simulation
from tests.faults.simulation_process import MARGIN_SECONDS
from tests.faults.workload import USERS, WORKFLOWS
from tests.harness.process import eventually

CONFIGURED_FEEDS: Final = frozenset(Feed(workflow, USERS.get(workflow)) for workflow in WORKFLOWS)
"""The feeds in the settings. Discovery may add others."""

ACTIONS: Final = source_steps.ACTIONS | bus_steps.ACTIONS | process_steps.ACTIONS

MAX_END_SECONDS: Final = 900.0
"""Simulated seconds in which every feed gets a full scan after the repair, whatever waits preceded it."""


@dataclass(frozen=True)
class Result:
    """The result of a run: its figures, and the violations of the promise."""

    seed: int
    plan: Sequence[Step]
    figures: Mapping[str, Any]
    problems: Sequence[str] = field(default_factory=list)
    kill_points: Sequence[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = sorted({step.kind for step in self.plan})
        did = ", ".join(f"{kind} {sum(step.kind == kind for step in self.plan)}" for kind in kinds)
        out = ", ".join(f"{name} {value}" for name, value in self.figures.items())
        lines = [f"seed {self.seed}, {len(self.plan)} steps", f"  steps: {did}", f"  figures: {out}"]
        if self.problems:
            lines += [f"  plan: {summary(self.plan)}", *(f"  PROBLEM {problem}" for problem in self.problems)]
        return "\n".join(lines)


def simulate(seed: int, plan: Sequence[Step], directory: Path) -> Result:
    began = time.monotonic()
    with start_simulation(directory, **api_of(seed)) as environment:
        for step in plan:
            environment.require_running()
            ACTIONS[step.kind](environment, Random(step.seed), step.point)  # noqa: S311 - a seed is the point
            time.sleep(environment.sim.real_seconds(step.pause))
        environment.require_running()
        _wait_for_rest(environment)
        figures = _evaluate(environment)
        figures |= {
            "simulated hours": round(environment.sim.elapsed() / 3600, 2),
            "seconds": round(time.monotonic() - began),
        }
        return Result(seed, plan, figures, environment.problems, environment.driver.kill_points())


def api_of(seed: int) -> dict[str, Any]:
    """Return a variant of the API for each seed, within the limits of Alloy's documentation."""
    draw = Random(f"api {seed}")  # noqa: S311 - a seed is the point
    path_segments = draw.choice([{"workflow"}, {"workflows"}, {"workflow", "workflows"}])
    return {
        "page_base": draw.choice([0, 1]),
        "path_segments": frozenset(path_segments),
        "compress": draw.random() < 0.5,
    }


def _wait_for_rest(environment: SimulationEnvironment) -> None:
    """Repair everything, and wait without new traffic for full scans of all feeds and for no pending entry."""
    environment.repair()
    before = _full_scans(environment)

    def is_done() -> bool:
        now = _full_scans(environment)
        return (
            all(now.get(feed) not in {None, before.get(feed)} for feed in CONFIGURED_FEEDS)
            and environment.counters().pending == 0
        )

    if not eventually(is_done, within=environment.sim.real_seconds(MAX_END_SECONDS) + MARGIN_SECONDS):
        environment.problem(
            f"work remains after the repair: {environment.counters()}, {environment.component_states()}"
        )


def _full_scans(environment: SimulationEnvironment) -> dict[Feed, datetime | None]:
    return {status.feed: status.checkpoint.full_scan_at for status in environment.feeds()}


def _evaluate(environment: SimulationEnvironment) -> dict[str, Any]:
    environment.run_command("check")
    letters = json.loads(environment.run_command("dead-letters", "list", "--json") or "[]")
    status = json.loads(environment.run_command("status", "--json") or "{}")
    environment.send(signal.SIGHUP)
    environment.request_web_pages()
    environment.stop()
    dead = {letter["execution_id"] for letter in letters}
    delivered = checks.deliveries(environment)
    environment.problems += checks.problems_of(
        {
            "never read": checks.unread(environment),
            "lost": checks.lost(environment, dead) - checks.dropped(environment, dead),
            "lost to a missing bus": checks.dropped(environment, dead),
            "invented": checks.never_failed(environment, dead),
            "sent too often": checks.unexplained_duplicates(environment),
            "another key than that of the first send": checks.wrong_keys(environment),
            "unsettled requests after a crash": checks.too_many_in_flight(environment),
            "secrets in outputs": checks.leaks(environment),
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
        "web requests": environment.counts["web requests"],
        "requests": f"{len(environment.alloy.requests)}+{len(environment.bridge.served)}",
    }
