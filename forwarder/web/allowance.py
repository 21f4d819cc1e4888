"""How often something may be tried."""

from collections import OrderedDict

from forwarder.clock import Clock

MOST_NAMES = 1000
"""Names that are told apart; the one that was heard of longest ago makes room."""


class Allowance:
    """`burst` tries at once, and one more every `every` seconds, for each name."""

    def __init__(self, clock: Clock, *, burst: int, every: float) -> None:
        self._clock = clock
        self._burst = burst
        self._every = every
        self._until: OrderedDict[str, float] = OrderedDict()

    def spend(self, name: str) -> None:
        """One try."""
        now = self._clock.monotonic()
        self._until[name] = max(now, self._until.pop(name, now)) + self._every
        if len(self._until) > MOST_NAMES:
            self._until.popitem(last=False)

    def wait(self, name: str) -> float:
        """Seconds until the next try; 0 where there is one left."""
        spent = self._until.get(name, 0.0) - self._clock.monotonic()
        return max(0.0, spent - (self._burst - 1) * self._every)
