"""The settlement of an entry by its own outcome."""

from datetime import timedelta

import pytest

from forwarder.delivery.retry import MAX_BACKOFF_SECONDS, MAX_UNCLASSIFIED_ATTEMPTS, decide
from forwarder.ledger import Dead, Postponed, Sent
from forwarder.model import Accepted, ClaimedEntry, Rejected, Retry, Unknown
from tests.factories import entry
from tests.virtual_clock import NOON

CLAIMED = ClaimedEntry(7, entry("e-1"))


def test_accepted_entry_is_sent() -> None:
    assert decide(CLAIMED, Accepted("event-1"), NOON) == Sent(7, "event-1")


def test_rejected_entry_is_dead_lettered_with_its_reason() -> None:
    assert decide(CLAIMED, Rejected("MalformedDetail", "why"), NOON) == Dead(7, "MalformedDetail", "why")


def test_unknown_outcome_is_retried_at_once_without_limit() -> None:
    often_tried = ClaimedEntry(7, entry("e-1"), attempts=1000, unclassified_attempts=9)
    assert decide(often_tried, Unknown("cut short"), NOON) == Postponed(7, "Unknown", NOON)


@pytest.mark.parametrize("attempts", [0, 1, 5, 100, 100_000])
def test_transient_code_is_retried_without_limit_with_backoff(attempts: int) -> None:
    longest = min(MAX_BACKOFF_SECONDS, 0.5 * 2 ** min(attempts, 30))
    waits = []
    for _ in range(200):
        outcome = decide(
            ClaimedEntry(7, entry("e-1"), attempts=attempts, unclassified_attempts=9),
            Retry("ThrottlingException"),
            NOON,
        )
        assert isinstance(outcome, Postponed)
        assert (outcome.token, outcome.code, outcome.unclassified_attempt) == (7, "ThrottlingException", False)
        waits.append(outcome.due_at - NOON)
    assert timedelta() < min(waits) <= max(waits) <= timedelta(seconds=longest)
    assert max(waits) > timedelta(seconds=longest / 2) > min(waits)  # full jitter


def test_undocumented_code_is_given_ten_attempts() -> None:
    unknown_code = Retry("BrandNewException", "not documented", unclassified_attempt=True)
    outcomes = [
        decide(
            ClaimedEntry(7, entry("e-1"), attempts=50, unclassified_attempts=unclassified_attempts), unknown_code, NOON
        )
        for unclassified_attempts in range(10)
    ]
    assert [type(outcome) for outcome in outcomes] == [Postponed] * (MAX_UNCLASSIFIED_ATTEMPTS - 1) + [Dead]
    assert all(isinstance(outcome, Postponed) and outcome.unclassified_attempt for outcome in outcomes[:-1])
    assert isinstance(outcomes[-1], Dead)
    assert (outcomes[-1].code, "not documented" in outcomes[-1].reason) == ("BrandNewException", True)
