"""The delays between retries."""

import random
from dataclasses import dataclass, field

# Jitter spreads retries and protects no secret, so a plain generator is enough.
_random = random.Random()  # noqa: S311


@dataclass(slots=True)
class Backoff:
    """An exponential backoff with full jitter: the n-th wait is uniform between 0 and `base · 2ⁿ`, at most `cap`.

    All times are in seconds. No wait is shorter than `floor`.
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
    """Return the longest wait before retry `step`, counted from 0, in seconds."""
    return float(min(cap, base * 2 ** min(step, 32)))


def jitter(ceiling: float, *, floor: float = 0.05) -> float:
    return max(floor, _random.uniform(0, ceiling))
