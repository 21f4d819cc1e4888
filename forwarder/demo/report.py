"""The report at the end of the demo. It compares the numbers of the source, the ledger and the queue."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from forwarder.demo.daemon_process import Counters

ENTRIES_PER_REQUEST = 10


@dataclass(frozen=True, slots=True)
class Report:
    """The numbers of one demo. `listed` and `failed` come from the source. `arrived` counts messages by execution id.

    When the daemon was killed, some of `in_flight_at_kill` were in flight, in at most `requests_in_flight` requests.
    They arrive twice if the bus accepted them and the outcome was not saved. `leaked` counts the events that contain a
    planted secret.
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
        """Return the lines of the table, each with a name, a number and its meaning."""
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
        """Return a sentence for each mismatch between the numbers, or an empty list if all agree."""
        arrived, failed, counters = set(self.arrived), set(self.failed), self.counters
        twice = {execution_id for execution_id, count in self.arrived.items() if count > 1}
        checks = [
            (failed - arrived, "failed but did not arrive in the queue"),
            (arrived - failed, "arrived in the queue but did not fail"),
            (twice - self.in_flight_at_kill, "arrived twice but was not in flight at the kill"),
        ]
        mismatches = [f"{_some(ids)} {what}." for ids, what in checks if ids]
        for name, number in (("recorded", counters.recorded), ("sent", counters.sent)):
            if number != len(failed):
                mismatches.append(f"The counters show {number} {name}, but {len(failed)} failed.")
        for name, number in (("pending", counters.pending), ("dead", counters.dead)):
            if number:
                mismatches.append(f"The counters show {number} {name}, but expected are 0.")
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
