"""The health of the source: the errors of single feeds, and the state that follows from them."""

from collections.abc import Collection

from forwarder.errors import SourceError, SourceRefused
from forwarder.health import Health
from forwarder.model import Feed, State

COMPONENT = "source"

NO_WORKFLOWS = "there is nothing to watch"
NO_WORKFLOWS_HINT = "list workflows in [source], or set discover = true"


class SourceHealth:
    """The errors of all feeds. `report` follows every poll, so its cost must not grow with the number of feeds."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._refusals: dict[Feed, SourceError] = {}
        self._other_errors: dict[Feed, SourceError] = {}
        self._listing_problems: dict[Feed, tuple[str, str]] = {}
        """Reason and hint of feeds that can be read, but whose listing has a problem."""
        self.discovery_error: SourceError | None = None
        """The error that made the last discovery incomplete."""

    def record_failure(self, feed: Feed, error: SourceError) -> None:
        own_errors, other = self._refusals, self._other_errors
        if not isinstance(error, SourceRefused):
            own_errors, other = other, own_errors
        other.pop(feed, None)
        own_errors[feed] = error  # an existing key keeps its position

    def record_success(self, feed: Feed, listing_problem: tuple[str, str] | None = None) -> None:
        """Remove the errors of a feed that was polled, or is not watched any more.

        A `listing_problem` is the reason and the hint of a feed that is degraded.
        """
        self._listing_problems.pop(feed, None)
        if listing_problem is not None:
            self._listing_problems[feed] = listing_problem
        self._refusals.pop(feed, None)
        self._other_errors.pop(feed, None)

    def watch(self, feeds: Collection[Feed]) -> None:
        """Remove the errors of all other feeds."""
        for feed in (self._refusals.keys() | self._other_errors.keys() | self._listing_problems.keys()).difference(
            feeds
        ):
            self.record_success(feed)

    def report_no_workflows(self) -> None:
        self._health.report(COMPONENT, State.FAILED, NO_WORKFLOWS, NO_WORKFLOWS_HINT)

    def report(self, feed_count: int) -> None:
        """Report FAILED if the key is refused or no feed can be read, and DEGRADED if some feeds cannot be read.

        A discovery that failed alone is DEGRADED, unless no feed is known.
        """
        unread = len(self._refusals) + len(self._other_errors)
        first_error = self._first_error()
        if first_error is None and self._listing_problems:
            feed, (reason, hint) = next(iter(self._listing_problems.items()))
            self._health.report(COMPONENT, State.DEGRADED, f"{reason} (feed {feed})", hint)
            return
        if first_error is None:
            self._health.healthy(COMPONENT)
            return
        state, reason = State.DEGRADED, f"not all of {feed_count} feeds can be read: {first_error.message}"
        if isinstance(first_error, SourceRefused) or unread >= feed_count:
            state, reason = State.FAILED, first_error.message
        elif first_error is self.discovery_error:
            reason = f"the discovery of workflows is incomplete: {first_error.message}"
        self._health.report(COMPONENT, state, reason, first_error.hint)

    def _first_error(self) -> SourceError | None:
        """Return the error to report: the oldest refusal, else the discovery error, else the oldest other error.

        The order is stable, because each change of the reason is a write to the ledger.
        """
        if self._refusals:
            return next(iter(self._refusals.values()))
        return self.discovery_error or next(iter(self._other_errors.values()), None)
