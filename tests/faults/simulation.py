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
from tests.faults.installation import eventually
from tests.faults.plan import Step, told
from tests.faults.simulation_environment import MARGIN, Scene, on_stage
from tests.faults.workload import USERS, WORKFLOWS

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
    with on_stage(place, **api_of(seed)) as scene:
        for step in plan:
            scene.look()
            ACTS[step.kind](scene, Random(step.seed), step.word)  # noqa: S311 - a seed is the point
            time.sleep(scene.sim.real(step.pause))
        scene.look()
        _come_to_rest(scene)
        figures = _judge(scene)
        figures |= {"simulated hours": round(scene.sim.passed() / 3600, 2), "seconds": round(time.monotonic() - began)}
        return Result(seed, plan, figures, scene.problems, scene.driver.reached())


def api_of(seed: int) -> dict[str, Any]:
    """What Alloy's documentation leaves open, settled one way for each seed."""
    draw = Random(f"api {seed}")  # noqa: S311 - a seed is the point
    path_segments = draw.choice([{"workflow"}, {"workflows"}, {"workflow", "workflows"}])
    return {
        "page_base": draw.choice([0, 1]),
        "path_segments": frozenset(path_segments),
        "compress": draw.random() < 0.5,
    }


def _come_to_rest(scene: Scene) -> None:
    """All is well, and nothing new happens: every feed is read to the bottom, and what is owed goes out."""
    scene.mend()
    before = _deep_readings(scene)

    def is_done() -> bool:
        now = _deep_readings(scene)
        return all(now.get(feed) not in {None, before.get(feed)} for feed in WATCHED) and scene.books().pending == 0

    if not eventually(is_done, within=scene.sim.real(LONGEST_END) + MARGIN):
        scene.problem(f"it does not come to rest: {scene.books()}, {scene.parts()}")


def _deep_readings(scene: Scene) -> dict[Feed, datetime | None]:
    return {status.feed: status.checkpoint.full_scan_at for status in scene.feeds()}


def _judge(scene: Scene) -> dict[str, Any]:
    scene.run_command("check")
    letters = json.loads(scene.run_command("dead-letters", "list", "--json") or "[]")
    status = json.loads(scene.run_command("status", "--json") or "{}")
    scene.send(signal.SIGHUP)
    scene.visit()
    scene.stop()
    dead = {letter["execution_id"] for letter in letters}
    delivered = checks.deliveries(scene)
    scene.problems += checks.told(
        {
            "never read": checks.unread(scene),
            "lost": checks.lost(scene, dead) - checks.dropped(scene, dead),
            "lost to a missing bus": checks.dropped(scene, dead),
            "invented": checks.invented(scene, dead),
            "sent too often": checks.unexplained(scene),
            "requests in doubt after a crash": checks.too_many_in_flight(scene),
            "secrets told": checks.leaks(scene),
            "faults in the log": scene.log_faults(),
        }
    )
    return {
        "failed": len(scene.world.failed),
        "listed": len(scene.alloy.api.listed_ids),
        "delivered": len(delivered),
        "dead": len(dead),
        "duplicates": sum(delivered.values()) - len(delivered),
        "dropped by a missing bus": len(scene.bridge.dropped),
        "counters": status.get("counters"),
        "starts": scene.counts["starts"],
        "crashes": len(scene.crashes),
        "audits": scene.counts["audits"],
        "visits": scene.counts["visits"],
        "requests": f"{len(scene.alloy.requests)}+{len(scene.bridge.served)}",
    }
