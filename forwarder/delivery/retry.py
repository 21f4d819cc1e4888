"""What becomes of an entry by its own outcome: the one owner of retrying."""

from datetime import datetime, timedelta
from typing import assert_never

from forwarder.backoff import ceiling_of, jittered
from forwarder.ledger import Dead, Postponed, Sent, Settlement
from forwarder.model import Accepted, Outcome, Owed, Rejected, Retry, Unknown

MOST_STRIKES = 10
"""Attempts with codes that nobody has documented, before the entry is taken for one that is never accepted."""

FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
"""Seconds between the attempts of one entry. Their number has no limit: the ledger is the buffer."""

UNKNOWN = "Unknown"


def decide(owed: Owed, outcome: Outcome, now: datetime) -> Settlement:
    match outcome:
        case Accepted(event_id):
            return Sent(owed.token, event_id)
        case Rejected(code, reason):
            return Dead(owed.token, code, reason)
        case Retry(code, reason, strike=True) if owed.strikes + 1 >= MOST_STRIKES:
            return Dead(owed.token, code, f"given up after {MOST_STRIKES} attempts: {reason}")
        case Retry(code, _, strike):
            return Postponed(owed.token, code, now + _wait(owed.attempts), strike)
        case Unknown():
            # Not before the others are through: the whole stream slows down for it, see the gate.
            return Postponed(owed.token, UNKNOWN, now)
        case _:
            assert_never(outcome)


def _wait(attempts: int) -> timedelta:
    return timedelta(seconds=jittered(ceiling_of(attempts, base=FIRST_WAIT, cap=LONGEST_WAIT)))
