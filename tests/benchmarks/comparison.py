"""A contest: everybody takes a turn in every round, so that a machine that slows down slows all of them down."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

Turn = Callable[[float], float]
"""Work for about so many seconds; return the rate, in units of work per second."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Rates by contestant, one for each round."""

    rates: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        return median(self.rates[name])

    def spread(self, name: str) -> tuple[float, float]:
        """The slowest and the fastest turn."""
        return min(self.rates[name]), max(self.rates[name])

    def ratio(self, name: str, to: str) -> float:
        """The median, over the rounds, of one's rate to another's of the same round."""
        return median(mine / theirs for mine, theirs in zip(self.rates[name], self.rates[to], strict=True))

    def best(self, *names: str) -> str:
        """Who of them was the fastest; names that did not take part are passed over."""
        return max((name for name in names if name in self.rates), key=self.median)


def hold(contestants: Mapping[str, Turn], *, rounds: int, seconds: float) -> Contest:
    """A round to warm up, which does not count, and then `rounds`, each begun by another contestant."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in contestants.values():
        turn(seconds / 4)
    order = list(contestants)
    for _ in range(rounds):
        for name in order:
            rates[name].append(contestants[name](seconds))
        order.append(order.pop(0))
    return Contest(rates)
