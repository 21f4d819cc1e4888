"""A comparison in rounds: each contestant has a turn in every round, so that a slow machine affects all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

Turn = Callable[[float], float]
"""A function that works for about so many seconds, and returns its rate in units of work per second."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rates of each contestant, one for each round."""

    rates: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        return median(self.rates[name])

    def spread(self, name: str) -> tuple[float, float]:
        """Return the slowest and the fastest turn."""
        return min(self.rates[name]), max(self.rates[name])

    def ratio(self, name: str, to: str) -> float:
        """Return the median of the ratios of two contestants' rates in each round."""
        return median(mine / theirs for mine, theirs in zip(self.rates[name], self.rates[to], strict=True))

    def best(self, *names: str) -> str:
        """Return the fastest of these contestants. Names without rates are ignored."""
        return max((name for name in names if name in self.rates), key=self.median)


def run_turns(contestants: Mapping[str, Turn], *, rounds: int, seconds: float) -> Comparison:
    """Run a warm-up round, which does not count, and then `rounds`, each of which starts with another contestant."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in contestants.values():
        turn(seconds / 4)
    order = list(contestants)
    for _ in range(rounds):
        for name in order:
            rates[name].append(contestants[name](seconds))
        order.append(order.pop(0))
    return Comparison(rates)
