"""The window of a member's journal: the entries that are not settled yet, and what the member has counted.

The mark is the first number of the journal with an open entry. A member's counters below the mark are saved in one
write with the mark, and its heir counts the entries from the mark again. So each transition is counted exactly once,
however the member ends.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from forwarder.ledger.models import Counters

RECORDED, RETRIED, REPLAYED, REQUEUED, PURGED, ADOPTED, SENT, DEAD = "rtpqgasd"
"""The letters of the transitions in an execution's log, and the kinds of entries in a journal."""

UNVERIFIED = "u"
"""The kind of an entry in a journal for an event that was sent to a bus that was not verified since."""

EFFECTS: Mapping[str, Mapping[str, int]] = {
    RECORDED: {"recorded": 1, "pending": 1},
    SENT: {"pending": -1, "sent": 1},
    DEAD: {"pending": -1, "dead": 1},
    RETRIED: {"dead": -1, "pending": 1},
    REPLAYED: {"sent": -1, "pending": 1},
    REQUEUED: {"sent": -1, "pending": 1},
    PURGED: {"dead": -1, "purged": 1},
    ADOPTED: {},
}
"""The changes of the counters by each transition."""


def add_effect(totals: Counter[str], transition: str) -> None:
    """Add a transition to totals, which may become negative: another member counted the opposite."""
    for name, change in EFFECTS[transition].items():
        totals[name] += change


def counters_of(parts: Iterable[Mapping[str, int]]) -> Counters:
    """Return the sum of the totals of all members."""
    totals = Counter[str]()
    for part in parts:
        totals.update(part)
    return Counters(**{name: totals[name] for name in ("recorded", "pending", "sent", "dead", "purged")})


@dataclass(slots=True)
class Window:
    """The open entries of a journal by number, and the counted transitions below and above the mark."""

    mark: int = 1
    next_number: int = 1
    below: Counter[str] = field(default_factory=Counter)
    _open: dict[int, int] = field(default_factory=dict)
    _above: dict[int, Counter[str]] = field(default_factory=dict)

    def open(self, number: int, entries: int) -> None:
        """Hold the mark at a number until its entries are closed. Called before the number is written."""
        self._open[number] = entries
        self.next_number = max(self.next_number, number + 1)

    def close(self, number: int) -> None:
        """Close one entry of a number."""
        self._open[number] -= 1

    def abandon(self, number: int) -> None:
        """Close a number whose entries were not used."""
        self._open.pop(number, None)

    def count(self, number: int, transition: str) -> None:
        """Count a transition of an entry of this number. It is saved with the mark, once the mark has passed it."""
        add_effect(self._above.setdefault(number, Counter()), transition)

    def advance(self) -> None:
        """Move the mark over all numbers without an open entry."""
        while self.mark < self.next_number and not self._open.get(self.mark):
            self._open.pop(self.mark, None)
            self.below.update(self._above.pop(self.mark, {}))
            self.mark += 1
        for number in [number for number in self._above if number < self.mark]:
            self.below.update(self._above.pop(number))

    @property
    def totals(self) -> Counter[str]:
        """Return all that was counted, below and above the mark."""
        totals = Counter(self.below)
        for part in self._above.values():
            totals.update(part)
        return totals
