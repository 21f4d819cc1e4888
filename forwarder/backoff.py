"""How long to wait before the next try."""

import random
from dataclasses import dataclass, field

# Jitter spreads tries; it guards nothing, so a plain generator will do.
_random = random.Random()  # noqa: S311


@dataclass(slots=True)
class Backoff:
    """Exponential steps with full jitter: the n-th wait is uniform between 0 and `base · 2ⁿ`, at most `cap`.

    Seconds. `floor` keeps the smallest wait from being none at all.
    """

    base: float
    cap: float
    floor: float = 0.05
    step: int = field(default=0, init=False)

    def next(self) -> float:
        ceiling = max_wait(self.step, base=self.base, cap=self.cap)
        self.step += 1
        return jitter(ceiling, floor=self.floor)

    def reset(self) -> None:
        self.step = 0


def max_wait(step: int, *, base: float, cap: float) -> float:
    """The longest wait of a step, in seconds; safe for steps without end."""
    return float(min(cap, base * 2 ** min(step, 32)))


def jitter(ceiling: float, *, floor: float = 0.05) -> float:
    return max(floor, _random.uniform(0, ceiling))
