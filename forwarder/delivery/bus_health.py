"""The state of the bus in health, with the error of the last failure."""

from collections.abc import Sequence

import structlog

from forwarder.delivery.circuit_breaker import FailureType
from forwarder.errors import DestinationError, DestinationPaused, DestinationUnavailable, EventsRefused
from forwarder.health import Health
from forwarder.metrics import Metrics
from forwarder.model import Accepted, Outcome, Rejected, Retry, State

log = structlog.get_logger("delivery")

COMPONENT = "bus"
"""The name of the bus in health and metrics."""

LOCAL_ERROR_CODES = ("unreachable", "not-aws", "internal")
"""Our codes for outages in which the bus itself did not respond."""

THROTTLED_CODE = "ThrottlingException"

MAX_CONSECUTIVE_REFUSALS = 5
"""The number of refused entries, without an accepted one, after which health is DEGRADED and a single pass ends."""


def failure_type(error: DestinationError) -> FailureType:
    """Return the type of a failure for the circuit breaker."""
    if isinstance(error, DestinationPaused):
        return FailureType.REFUSAL
    if error.code in LOCAL_ERROR_CODES:
        return FailureType.UNREACHABLE
    return FailureType.THROTTLED if error.code == THROTTLED_CODE else FailureType.OUTAGE


class BusHealth:
    """The reporter of the bus's state. It also counts the entries that were refused since the last accepted one."""

    def __init__(self, health: Health, metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics
        self._consecutive_refusals = 0
        self.current_error: DestinationError | None = None
        """The error of the last failed request or check, or None after a later valid response."""

    def report_verified(self) -> None:
        self.current_error = None
        self._health.healthy(COMPONENT)

    def report_failed_check(self, error: DestinationError) -> None:
        self._report(State.FAILED, error, error.hint)

    def report_failure(self, error: DestinationError) -> None:
        """Report that a request failed, or that the bus refuses every event."""
        responds = failure_type(error) in (FailureType.OUTAGE, FailureType.THROTTLED)
        self._report(State.DEGRADED if responds else State.FAILED, error, error.hint)

    def report_unknown(self, reason: str, entries: int) -> None:
        """Report a request that the bus may have accepted."""
        error = DestinationUnavailable(f"the outcome of a request is unknown: {reason}", code="unknown")
        self._report(State.DEGRADED, error, "it is sent again; a duplicate is possible")
        self._metrics.count_unknown(entries)
        log.warning("possible duplicate", entries=entries, reason=reason)

    def report_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Report the bus as HEALTHY, or DEGRADED while it refuses every entry with codes that end as dead letters."""
        self.current_error = None
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
            self._health.healthy(COMPONENT)

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

    def _report(self, state: State, error: DestinationError, hint: str) -> None:
        self.current_error = error
        self._health.report(COMPONENT, state, error.message, hint)
