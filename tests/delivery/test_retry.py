"""What becomes of an entry by its own outcome."""

from datetime import timedelta

import pytest

from forwarder.delivery.retry import LONGEST_WAIT, MOST_STRIKES, decide
from forwarder.ledger import Dead, Postponed, Sent
from forwarder.model import Accepted, Owed, Rejected, Retry, Unknown
from tests.clocks import NOON
from tests.samples import entry

OWED = Owed(7, entry("e-1"))


def test_accepted_is_sent() -> None:
    assert decide(OWED, Accepted("event-1"), NOON) == Sent(7, "event-1")


def test_rejected_is_dead_with_its_reason() -> None:
    assert decide(OWED, Rejected("MalformedDetail", "why"), NOON) == Dead(7, "MalformedDetail", "why")


def test_unknown_is_owed_at_once_and_for_ever() -> None:
    much_tried = Owed(7, entry("e-1"), attempts=1000, strikes=9)
    assert decide(much_tried, Unknown("cut short"), NOON) == Postponed(7, "Unknown", NOON)


@pytest.mark.parametrize("attempts", [0, 1, 5, 100, 100_000])
def test_a_known_transient_code_is_tried_without_end_and_ever_more_rarely(attempts: int) -> None:
    longest = min(LONGEST_WAIT, 0.5 * 2 ** min(attempts, 30))
    waits = []
    for _ in range(200):
        outcome = decide(Owed(7, entry("e-1"), attempts=attempts, strikes=9), Retry("ThrottlingException"), NOON)
        assert isinstance(outcome, Postponed)
        assert (outcome.token, outcome.code, outcome.strike) == (7, "ThrottlingException", False)
        waits.append(outcome.due_at - NOON)
    assert timedelta() < min(waits) <= max(waits) <= timedelta(seconds=longest)
    assert max(waits) > timedelta(seconds=longest / 2) > min(waits)  # full jitter


def test_a_code_that_nobody_documented_has_ten_attempts() -> None:
    unknown_code = Retry("BrandNewException", "who knows", strike=True)
    outcomes = [
        decide(Owed(7, entry("e-1"), attempts=50, strikes=strikes), unknown_code, NOON) for strikes in range(10)
    ]
    assert [type(outcome) for outcome in outcomes] == [Postponed] * (MOST_STRIKES - 1) + [Dead]
    assert all(isinstance(outcome, Postponed) and outcome.strike for outcome in outcomes[:-1])
    assert isinstance(outcomes[-1], Dead)
    assert (outcomes[-1].code, "who knows" in outcomes[-1].reason) == ("BrandNewException", True)
