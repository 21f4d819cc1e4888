"""The end of the demo: do the numbers agree?"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from forwarder.demo.daemon_process import Counters

ENTRIES_PER_REQUEST = 10


@dataclass(frozen=True, slots=True)
class Report:
    """`listed` and `failed` are the truth, `arrived` counts messages by executionId.

    Some of `in_flight_at_kill` were in flight, in at most `requests_in_flight`, when the daemon was killed. They arrive
    twice if the bus accepted them and the outcome was not saved. `leaked` counts the events that hold a planted secret.
    """

    listed: int
    failed: AbstractSet[str]
    arrived: Mapping[str, int]
    in_flight_at_kill: AbstractSet[str]
    requests_in_flight: int
    counters: Counters
    leaked: int

    @property
    def duplicates(self) -> int:
        return sum(self.arrived.values()) - len(self.arrived)

    @property
    def max_duplicates(self) -> int:
        return self.requests_in_flight * ENTRIES_PER_REQUEST

    def rows(self) -> list[tuple[str, int, str]]:
        """(name, number, meaning) of each line of the table."""
        counters, in_flight = self.counters, f"{self.requests_in_flight} requests of {ENTRIES_PER_REQUEST}"
        return [
            ("listed", self.listed, "executions that the logs API shows"),
            ("failed", len(self.failed), "of them"),
            ("duplicates", self.duplicates, f"in flight at the kill -9; at most {in_flight}"),
            (
                "sent",
                counters.sent,
                f"by the counters: {counters.recorded} recorded, {counters.pending} pending, {counters.dead} dead",
            ),
            (
                "in the queue",
                len(self.arrived),
                f"different executions, in {sum(self.arrived.values())} messages",
            ),
            ("secrets", self.leaked, "events that hold the token planted in each execution"),
        ]

    def mismatches(self) -> list[str]:
        """A sentence for each pair of numbers that does not agree."""
        arrived, failed, counters = set(self.arrived), set(self.failed), self.counters
        twice = {execution_id for execution_id, count in self.arrived.items() if count > 1}
        checks = [
            (failed - arrived, "failed and never came out of the queue"),
            (arrived - failed, "came out of the queue and had not failed"),
            (twice - self.in_flight_at_kill, "arrived twice, though not in flight at the kill"),
        ]
        mismatches = [f"{_some(ids)} {what}." for ids, what in checks if ids]
        for name, number in (("recorded", counters.recorded), ("sent", counters.sent)):
            if number != len(failed):
                mismatches.append(f"The counters say {number} {name}, but {len(failed)} failed.")
        for name, number in (("pending", counters.pending), ("dead", counters.dead)):
            if number:
                mismatches.append(f"The counters say {number} {name}, and there should be none.")
        if self.duplicates > self.max_duplicates:
            mismatches.append(
                f"{self.duplicates} duplicates are more than the {self.max_duplicates} that were in flight."
            )
        if self.leaked:
            mismatches.append(f"{self.leaked} events hold a secret.")
        return mismatches


def _some(ids: AbstractSet[str]) -> str:
    first = min(ids)
    return first if len(ids) == 1 else f"{first} and {len(ids) - 1} more"
