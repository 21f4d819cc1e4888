"""The settlement of an entry by its own outcome. No other module decides about retries."""

from datetime import datetime, timedelta
from typing import assert_never

from forwarder.backoff import jitter, max_wait
from forwarder.ledger import Dead, Postponed, Sent, Settlement
from forwarder.model import Accepted, ClaimedEntry, Outcome, Rejected, Retry, Unknown

MAX_UNCLASSIFIED_ATTEMPTS = 10
"""The number of attempts with undocumented codes after which an entry is dead-lettered."""

MIN_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 60.0
"""The limits of the wait between two attempts of an entry. The number of attempts is unlimited."""

UNKNOWN_CODE = "Unknown"


def decide(claimed: ClaimedEntry, outcome: Outcome, now: datetime) -> Settlement:
    """Return the settlement of an entry: sent, dead, or postponed to the time of its next attempt."""
    match outcome:
        case Accepted(event_id):
            return Sent(claimed.token, event_id)
        case Rejected(code, reason):
            return Dead(claimed.token, code, reason)
        case Retry(code, reason, unclassified_attempt=True) if (
            claimed.unclassified_attempts + 1 >= MAX_UNCLASSIFIED_ATTEMPTS
        ):
            return Dead(claimed.token, code, f"given up after {MAX_UNCLASSIFIED_ATTEMPTS} attempts: {reason}")
        case Retry(code, _, unclassified_attempt):
            return Postponed(claimed.token, code, now + _backoff(claimed.attempts), unclassified_attempt)
        case Unknown():
            # It is due at once: the circuit breaker already delays all requests after an unknown outcome.
            return Postponed(claimed.token, UNKNOWN_CODE, now)
        case _:
            assert_never(outcome)


def _backoff(attempts: int) -> timedelta:
    return timedelta(seconds=jitter(max_wait(attempts, base=MIN_BACKOFF_SECONDS, cap=MAX_BACKOFF_SECONDS)))
