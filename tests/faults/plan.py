"""The plan of a simulation. The same seed and length give the same plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import Final

from tests.faults.control import POINTS

TRAFFIC: Final[dict[str, float]] = {
    "pause": 10,
    "fail": 26,
    "succeed": 8,
    "start": 8,
    "finish": 9,
    "start unlisted": 2,
    "fail a day late": 2,
    "fail twice": 1,
}

OPERATIONS: Final[dict[str, float]] = {
    "toggle": 2,
    "change settings": 2,
    "reload": 1,
    "stop": 0.3,
    "set key": 0.3,
    "retry dead": 0.4,
}
"""The actions of operators, which may never cause a duplicate."""

FAULTS: Final[dict[str, float]] = {
    "spoil a record": 0.1,
    "source fault": 9,
    "source rule": 1.5,
    "source vanishes": 0.7,
    "source refuses": 0.7,
    "bus fault": 8,
    "bus chaos": 1,
    "bus missing": 0.7,
    "another bus": 0.7,
    "bus refuses": 0.7,
    "break settings": 1.5,
    "set clock": 1.2,
    "repair": 3,
    "kill": 0.6,
    "kill at": 0.8,
}


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a plan. `point` is that of a kill, or empty; `pause` follows the step, in simulated seconds."""

    kind: str
    seed: int
    pause: float
    point: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind} {self.point}".strip()


def full_plan(seed: int, steps: int) -> list[Step]:
    """Return a plan with every kind of step."""
    return plan(seed, steps, TRAFFIC | OPERATIONS | FAULTS)


def calm_plan(seed: int, steps: int) -> list[Step]:
    """Return a plan without faults, which may not cause a single duplicate."""
    return plan(seed, steps, TRAFFIC | OPERATIONS)


def deadly_plan(seed: int, points: Sequence[str], between: int = 3) -> list[Step]:
    """Return a plan with one kill at each of these points, and some traffic between them."""
    draw = Random(seed)  # noqa: S311 - a seed is the point
    deadly: list[Step] = []
    for point in draw.sample(points, len(points)):
        deadly += plan(draw.randrange(2**32), between, TRAFFIC)
        deadly.append(Step("kill at", draw.randrange(2**32), draw.uniform(0, 5), point))
    return deadly


def plan(seed: int, steps: int, weights: Mapping[str, float]) -> list[Step]:
    draw = Random(seed)  # noqa: S311 - a seed is the point
    points = deck(draw)
    kinds = draw.choices(list(weights), list(weights.values()), k=steps)
    return [
        Step(kind, draw.randrange(2**32), draw.expovariate(1 / 1.5), next(points) if kind == "kill at" else "")
        for kind in kinds
    ]


def deck(draw: Random) -> Iterator[str]:
    """Yield points in random order without end, each once per round."""
    while True:
        yield from draw.sample(POINTS, len(POINTS))


def summary(steps: Sequence[Step]) -> str:
    """Return a plan in a few lines."""
    runs = [(name, len(list(run))) for name, run in groupby(step.name for step in steps)]
    return " · ".join(name if count == 1 else f"{name} x{count}" for name, count in runs)
