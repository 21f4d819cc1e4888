"""The goals of the benchmarks, by number."""

from dataclasses import dataclass

GOALS = {
    1: "publishing, against the best SDK client",
    2: "reading, against json.loads",
    3: "the ledger stays flat",
    4: "end to end, against scripts that do the same",
    5: "latency, from visible in the API to accepted by the bus",
    6: "idle feeds cost next to nothing",
    7: "growth",
    8: "the page: webhook calls act at once, and readers slow delivery little",
    9: "detection: failures are found soon, with few requests",
}


@dataclass(frozen=True, slots=True)
class GoalResult:
    """The result of one part of a goal. Either `at_least` or `at_most` is set, in the unit of the figure."""

    goal: int
    what: str
    figure: float
    unit: str
    at_least: float | None
    at_most: float | None

    @property
    def holds(self) -> bool:
        return (self.at_least is None or self.figure >= self.at_least) and (
            self.at_most is None or self.figure <= self.at_most
        )

    @property
    def threshold(self) -> tuple[str, float]:
        return ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most or 0.0)
