"""The plan of the disruptions of a fleet, which depends on the seed only: kinds, targets, times and durations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

KILL, PAUSE, LONG_PAUSE, TERMINATE = "kill", "short pause", "long pause", "terminate"
JOIN, THROTTLE, LOSE_REPLIES, CUT_OFF = "join", "throttle", "lose replies", "cut off"

SECONDS: Final = {
    KILL: (0.0, 3.0),
    PAUSE: (0.3, 1.5),
    LONG_PAUSE: (2.5, 6.0),
    TERMINATE: (0.0, 2.0),
    JOIN: (0.0, 0.0),
    THROTTLE: (1.0, 3.0),
    LOSE_REPLIES: (1.0, 3.0),
    CUT_OFF: (0.5, 4.0),
}
"""The shortest and the longest duration of each kind. After a kill and a stop, it is the time until the next start."""

WEIGHTS: Final = {KILL: 4, PAUSE: 2, LONG_PAUSE: 2, TERMINATE: 3, THROTTLE: 2, LOSE_REPLIES: 2, CUT_OFF: 2}
"""The kinds that are drawn, with their weights."""

GUARANTEED: Final = (KILL, LONG_PAUSE, TERMINATE, JOIN, THROTTLE, LOSE_REPLIES, CUT_OFF)
"""The kinds that are in every plan. A process joins once."""

ROUND_SECONDS: Final = 6.0
DISRUPTIONS_PER_ROUND: Final = 4


@dataclass(frozen=True, slots=True)
class Planned:
    """A disruption. `at` is in seconds since the beginning of its round, and `target` is the index of a place.

    `seed` decides which requests a table refuses. `needs_member` is true if the process must have joined the fleet
    before, so that the disruption has its effect.
    """

    at: float
    kind: str
    target: int
    seconds: float
    seed: int
    needs_member: bool


def generator(seed: int, use: str) -> Random:
    """Return the generator of random numbers for one use. No other use changes its sequence."""
    return Random(f"{seed} {use}")  # noqa: S311  # a plan protects no secret


def plan_disruptions(seed: int, *, rounds: int, processes: int) -> list[list[Planned]]:
    """Return the disruptions of each round, in the order in which they begin."""
    draw = generator(seed, "disruptions")
    count = rounds * DISRUPTIONS_PER_ROUND
    drawn = draw.choices([*WEIGHTS], [*WEIGHTS.values()], k=count - len(GUARANTEED))
    kinds = [(kind, True) for kind in GUARANTEED] + [(kind, False) for kind in drawn]
    draw.shuffle(kinds)
    plan = []
    for number in range(rounds):
        some = kinds[number * DISRUPTIONS_PER_ROUND : (number + 1) * DISRUPTIONS_PER_ROUND]
        plan.append(_plan_round(draw, some, processes))
        processes += any(kind == JOIN for kind, _ in some)
    return plan


def _plan_round(draw: Random, kinds: Sequence[tuple[str, bool]], processes: int) -> list[Planned]:
    """Return the disruptions of one round. A process that joins is a target from the next round on."""
    starts = sorted(draw.uniform(0, ROUND_SECONDS) for _ in kinds)
    return [
        Planned(
            at,
            kind,
            target=processes if kind == JOIN else draw.randrange(processes),
            seconds=draw.uniform(*SECONDS[kind]),
            seed=draw.randrange(10**6),
            needs_member=needs_member and kind != JOIN,
        )
        for at, (kind, needs_member) in zip(starts, kinds, strict=True)
    ]
