"""The end of the demo: do the numbers agree?"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from forwarder.demo.process import Books

ENTRIES_A_REQUEST = 10


@dataclass(frozen=True, slots=True)
class Tally:
    """`listed` and `failed` are the truth, `arrived` counts messages by executionId.

    Some of `at_the_kill` were in flight, in at most `requests_in_flight`, when the daemon was killed: what the bus
    accepted and nobody could write down any more arrives twice. `leaked` counts the events that hold a planted
    secret.
    """

    listed: int
    failed: AbstractSet[str]
    arrived: Mapping[str, int]
    at_the_kill: AbstractSet[str]
    requests_in_flight: int
    books: Books
    leaked: int

    @property
    def duplicates(self) -> int:
        return sum(self.arrived.values()) - len(self.arrived)

    @property
    def most_duplicates(self) -> int:
        return self.requests_in_flight * ENTRIES_A_REQUEST

    def rows(self) -> list[tuple[str, int, str]]:
        """(name, number, meaning) of each line of the table."""
        books, in_flight = self.books, f"{self.requests_in_flight} requests of {ENTRIES_A_REQUEST}"
        return [
            ("listed", self.listed, "executions that the logs API shows"),
            ("failed", len(self.failed), "of them"),
            ("duplicates", self.duplicates, f"in flight at the kill -9; at most {in_flight}"),
            (
                "sent",
                books.sent,
                f"say the books: {books.recorded} recorded, {books.owed} owed, {books.dead} dead",
            ),
            (
                "in the queue",
                len(self.arrived),
                f"different executions, in {sum(self.arrived.values())} messages",
            ),
            ("secrets", self.leaked, "events that hold the token planted in each execution"),
        ]

    def disagreements(self) -> list[str]:
        """A sentence for each pair of numbers that does not agree."""
        arrived, failed, books = set(self.arrived), set(self.failed), self.books
        twice = {execution_id for execution_id, count in self.arrived.items() if count > 1}
        checks = [
            (failed - arrived, "failed and never came out of the queue"),
            (arrived - failed, "came out of the queue and had not failed"),
            (twice - self.at_the_kill, "arrived twice, though not in flight at the kill"),
        ]
        wrong = [f"{_some(ids)} {what}." for ids, what in checks if ids]
        for name, number in (("recorded", books.recorded), ("sent", books.sent)):
            if number != len(failed):
                wrong.append(f"The books say {number} {name}, but {len(failed)} failed.")
        for name, number in (("owed", books.owed), ("dead", books.dead)):
            if number:
                wrong.append(f"The books say {number} {name}, and there should be none.")
        if self.duplicates > self.most_duplicates:
            wrong.append(f"{self.duplicates} duplicates are more than the {self.most_duplicates} that were in flight.")
        if self.leaked:
            wrong.append(f"{self.leaked} events hold a secret.")
        return wrong


def _some(ids: AbstractSet[str]) -> str:
    first = min(ids)
    return first if len(ids) == 1 else f"{first} and {len(ids) - 1} more"
