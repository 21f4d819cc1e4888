"""The settlement of an entry by its own outcome: the one owner of retrying."""

from datetime import datetime, timedelta
from typing import assert_never

from forwarder.backoff import jitter, max_wait
from forwarder.ledger import Dead, Postponed, Sent, Settlement
from forwarder.model import Accepted, ClaimedEntry, Outcome, Rejected, Retry, Unknown

MAX_UNCLASSIFIED_ATTEMPTS = 10
"""Attempts with codes that nobody has documented, before the entry is taken for one that is never accepted."""

MIN_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 60.0
"""Seconds between the attempts of one entry. Their number has no limit: the ledger is the buffer."""

UNKNOWN_CODE = "Unknown"


def decide(claimed: ClaimedEntry, outcome: Outcome, now: datetime) -> Settlement:
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
            # Not before the others are through: the whole stream slows down for it, see the circuit breaker.
            return Postponed(claimed.token, UNKNOWN_CODE, now)
        case _:
            assert_never(outcome)


def _backoff(attempts: int) -> timedelta:
    return timedelta(seconds=jitter(max_wait(attempts, base=MIN_BACKOFF_SECONDS, cap=MAX_BACKOFF_SECONDS)))
