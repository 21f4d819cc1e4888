"""The state of the bus in health, with the error of the last failure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forwarder.aws.request_errors import THROTTLING_CODES
from forwarder.clock import Clock
from forwarder.delivery.circuit_breaker import FailureType
from forwarder.errors import DestinationError, DestinationPaused, DestinationUnavailable, EventsRefused
from forwarder.health import Health
from forwarder.model import Accepted, Outcome, Rejected, Retry, State

COMPONENT = "bus"
"""The name of the bus in health and metrics."""

LOCAL_ERROR_CODES = ("unreachable", "not-aws", "internal")
"""Our codes for outages in which the bus itself did not respond."""

THROTTLED_CODE = "ThrottlingException"

MAX_CONSECUTIVE_REFUSALS = 5
"""The number of refused entries, without an accepted one, after which health is DEGRADED and a single pass ends."""

MAX_CONSECUTIVE_FAILURES = 5
"""The number of entries that fail for now, without an accepted one, after which the bus counts as failed."""

FAILING_ENTRY_SECONDS = 900.0
"""The time since the last attempt after which an entry does not count as failing any more.

It is attempted at least once a minute, or after the longest backoff of the circuit breaker. Another process may have
sent it since then.
"""


@dataclass(frozen=True, slots=True)
class FailingEntry:
    """The last attempt of an entry that is proven to make its requests fail. `at` is a monotonic time in seconds."""

    error: DestinationError
    at: float


def failure_type(error: DestinationError) -> FailureType:
    """Return the type of a failure for the circuit breaker."""
    if isinstance(error, DestinationPaused):
        return FailureType.REFUSAL
    if error.code in LOCAL_ERROR_CODES:
        return FailureType.UNREACHABLE
    return FailureType.THROTTLED if error.code == THROTTLED_CODE else FailureType.OUTAGE


class BusHealth:
    """The reporter of the bus's state. It also counts the entries that were refused since the last accepted one."""

    def __init__(self, health: Health, clock: Clock) -> None:
        self._health = health
        self._clock = clock
        self._consecutive_refusals = 0
        self._consecutive_failures = 0
        self._failing_entries: dict[str, FailingEntry] = {}
        self.current_error: DestinationError | None = None
        """The error of the last failed request or check, or None after a later valid response."""

    @property
    def failing_entry_error(self) -> DestinationError | None:
        """Return the last error of an entry that makes its requests fail, or None if there is no such entry."""
        return next((entry.error for entry in reversed(self._failing_entries.values())), None)

    def report_verified(self) -> None:
        self.current_error = None
        self._report_working()

    def report_failed_check(self, error: DestinationError) -> None:
        self._report(State.FAILED, error, error.hint)

    def report_failure(self, error: DestinationError) -> None:
        """Report that a request failed, or that the bus refuses every event."""
        responds = failure_type(error) in (FailureType.OUTAGE, FailureType.THROTTLED)
        self._report(State.DEGRADED if responds else State.FAILED, error, error.hint)

    def report_unknown(self, error: DestinationError) -> None:
        """Report a request that the bus may have accepted."""
        self._report(State.DEGRADED, error, "it is sent again; a duplicate is possible")

    def temporary_failure(self, outcomes: Sequence[Outcome]) -> DestinationUnavailable | None:
        """Return the error of a bus that responds with success, but accepts no entry for now. Otherwise return None.

        One entry may be the cause itself, so this needs MAX_CONSECUTIVE_FAILURES of them without an accepted one.
        """
        failed = [each for each in outcomes if isinstance(each, Retry) and not each.unclassified_attempt]
        self._consecutive_failures = self._consecutive_failures + len(failed) if len(failed) == len(outcomes) else 0
        if self._consecutive_failures < MAX_CONSECUTIVE_FAILURES:
            return None
        first = failed[0]
        is_throttled = all(each.code in THROTTLING_CODES for each in failed)
        reason = f"{first.code}: {first.reason}" if first.reason else first.code
        return DestinationUnavailable(
            f"the bus accepts no event for now: {reason}", code=THROTTLED_CODE if is_throttled else first.code
        )

    def report_failing_entry(self, execution_id: str, error: DestinationError) -> None:
        """Report a failed request whose only entry is proven to be the cause. The bus works for the other entries."""
        self._failing_entries.pop(execution_id, None)  # the last one is named
        self._failing_entries[execution_id] = FailingEntry(error, self._clock.monotonic())
        if self.current_error is None:
            self._report_working()

    def expire_failing_entries(self) -> None:
        """Forget the entries that are not attempted any more."""
        oldest = self._clock.monotonic() - FAILING_ENTRY_SECONDS
        expired = [each for each, entry in self._failing_entries.items() if entry.at < oldest]
        for execution_id in expired:
            del self._failing_entries[execution_id]
        if expired and self.current_error is None:
            self._report_working()

    def report_outcomes(self, outcomes: Sequence[Outcome], *, settled: Iterable[str]) -> None:
        """Report the bus as HEALTHY, or DEGRADED while it refuses every entry with codes that end as dead letters.

        `settled` are the execution ids of the entries that are not pending any more.
        """
        self.current_error = None
        for execution_id in settled:
            self._failing_entries.pop(execution_id, None)
        refused = [
            each
            for each in outcomes
            if isinstance(each, Rejected) or (isinstance(each, Retry) and each.unclassified_attempt)
        ]
        accepted = [each for each in outcomes if isinstance(each, Accepted)]
        self.count_refusals(accepted or refused)
        if refused and self._is_over_limit:
            reason = f"it refuses every event: {refused[0].code}: {refused[0].reason}"
            self._health.report(
                COMPONENT, State.DEGRADED, reason, "see `forwarder dead-letters`, and correct [event] and event_bus"
            )
        elif accepted or not self._is_over_limit:
            self._report_working()

    def count_refusals(self, outcomes: Sequence[Outcome]) -> None:
        """Add the number of outcomes to the consecutive refusals, or reset the number if one outcome is Accepted."""
        if any(isinstance(outcome, Accepted) for outcome in outcomes):
            self._consecutive_refusals = 0
        else:
            self._consecutive_refusals += len(outcomes)

    @property
    def should_give_up(self) -> bool:
        """Return whether a run that ends when nothing is pending should end now, because the bus refuses everything.

        If only events are refused, this needs MAX_CONSECUTIVE_REFUSALS of them, because others may be accepted.
        """
        if isinstance(self.current_error, EventsRefused):
            return self._is_over_limit
        return isinstance(self.current_error, DestinationPaused)

    @property
    def _is_over_limit(self) -> bool:
        return self._consecutive_refusals >= MAX_CONSECUTIVE_REFUSALS

    def _report_working(self) -> None:
        """Report the bus as HEALTHY, or DEGRADED while there are entries that make their requests fail."""
        if not self._failing_entries:
            self._health.healthy(COMPONENT)
            return
        execution_id, entry = next(reversed(self._failing_entries.items()))
        number = len(self._failing_entries)
        subject = f"execution {execution_id}" if number == 1 else f"{number} executions, the last {execution_id}"
        reason = f"it accepts other events, but fails at the event of {subject}: {entry.error.message}"
        hint = "look for a firewall, proxy or policy that refuses its content; the event is tried again once a minute"
        self._health.report(COMPONENT, State.DEGRADED, reason, hint)

    def _report(self, state: State, error: DestinationError, hint: str) -> None:
        self.current_error = error
        self._health.report(COMPONENT, state, error.message, hint)
