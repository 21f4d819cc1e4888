"""What is done to the forwarder, from a seed alone: the same seed and length make the same plan."""

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

CARE: Final[dict[str, float]] = {
    "toggle": 2,
    "change settings": 2,
    "reload": 1,
    "stop": 0.3,
    "set key": 0.3,
    "retry dead": 0.4,
}
"""What people do: nothing of it may cost a duplicate."""

TROUBLE: Final[dict[str, float]] = {
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
    "mend": 3,
    "kill": 0.6,
    "kill at": 0.8,
}


@dataclass(frozen=True, slots=True)
class Step:
    """`word` says more about `kind`; `pause` is in simulated seconds, after it."""

    kind: str
    seed: int
    pause: float
    word: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind} {self.word}".strip()


def full_plan(seed: int, steps: int) -> list[Step]:
    """Everything at once."""
    return plan(seed, steps, TRAFFIC | CARE | TROUBLE)


def calm_plan(seed: int, steps: int) -> list[Step]:
    """Only what may not cost a single duplicate."""
    return plan(seed, steps, TRAFFIC | CARE)


def deadly_plan(seed: int, points: Sequence[str], between: int = 3) -> list[Step]:
    """A kill at each of these points once, with some traffic between them."""
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
    """Points in random order, each once before any comes again."""
    while True:
        yield from draw.sample(POINTS, len(POINTS))


def told(steps: Sequence[Step]) -> str:
    """A plan in a few lines."""
    runs = [(name, len(list(run))) for name, run in groupby(step.name for step in steps)]
    return " · ".join(name if count == 1 else f"{name} x{count}" for name, count in runs)
