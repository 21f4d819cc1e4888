"""What keeps feeds from being read, and what that means for the whole."""

from collections.abc import Collection

from forwarder.errors import SourceError, SourceRefused
from forwarder.health import Health
from forwarder.model import Feed, State

PART = "source"


class Troubles:
    """Told of after every reading, so it must not take longer the more feeds there are."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._refused: dict[Feed, SourceError] = {}
        self._others: dict[Feed, SourceError] = {}
        self._doubts: dict[Feed, tuple[str, str]] = {}
        """Reason and hint for feeds that can be read, and whose listing is not as it should be."""
        self.discovery: SourceError | None = None
        """What kept the last discovery from being complete."""

    def cut_short(self, feed: Feed, error: SourceError) -> None:
        mine, other = self._refused, self._others
        if not isinstance(error, SourceRefused):
            mine, other = other, mine
        other.pop(feed, None)
        mine[feed] = error  # where it stood before, if it did

    def read(self, feed: Feed, doubt: tuple[str, str] | None = None) -> None:
        """It could be read, or is watched no more. A `doubt` is the reason and the hint of a feed that is degraded."""
        self._doubts.pop(feed, None)
        if doubt is not None:
            self._doubts[feed] = doubt
        self._refused.pop(feed, None)
        self._others.pop(feed, None)

    def watch(self, feeds: Collection[Feed]) -> None:
        """No others are watched any more."""
        for feed in (self._refused.keys() | self._others.keys() | self._doubts.keys()).difference(feeds):
            self.read(feed)

    def report(self, watched: int) -> None:
        """One feed that cannot be read is a loss of comfort; a refused key, or none that can be read, a failure."""
        count = len(self._refused) + len(self._others) + (self.discovery is not None)
        worst = self._worst()
        if worst is None and self._doubts:
            feed, (reason, hint) = next(iter(self._doubts.items()))
            self._health.report(PART, State.DEGRADED, f"{reason} (feed {feed})", hint)
            return
        if worst is None:
            self._health.healthy(PART)
            return
        failed = isinstance(worst, SourceRefused) or count >= watched
        why = worst.message if failed else f"not all of {watched} feeds can be read: {worst.message}"
        self._health.report(PART, State.FAILED if failed else State.DEGRADED, why, worst.hint)

    def _worst(self) -> SourceError | None:
        """The same for as long as it lasts: another reason would be news, and is told at once."""
        if self._refused:
            return next(iter(self._refused.values()))
        return self.discovery or next(iter(self._others.values()), None)
