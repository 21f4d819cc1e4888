"""What the log says of what was sent: every entry that was not accepted, and a line a second for the others."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from forwarder.aws.bus import Answer
from forwarder.delivery.account import Account
from forwarder.delivery.batch import Batch
from forwarder.delivery.publish import Published
from forwarder.delivery.retry import decide
from forwarder.metrics import Metrics
from forwarder.model import Accepted, Outcome, Owed, Rejected, Retry
from tests.clocks import NOON, QuickClock
from tests.samples import entry


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def told(lines: list[Any]) -> list[tuple[str, object]]:
    return [(line["event"], line.get("entries") or line.get("execution_id")) for line in lines]


def booked(account: Account, *outcomes: Outcome, ago: float = 0) -> None:
    now = NOON + timedelta(seconds=ago)
    owed = [Owed(index, entry(f"e-{index}")) for index in range(len(outcomes))]
    settlements = [decide(each, outcome, now) for each, outcome in zip(owed, outcomes, strict=True)]
    account.booked(Published(Batch(owed, []), Answer(list(outcomes))), settlements, now)


def test_the_first_events_are_told_at_once_and_what_follows_within_a_second_in_one_line(lines: list[Any]) -> None:
    clock = QuickClock()
    account = Account(clock, Metrics())
    booked(account, *[Accepted("a")] * 3)
    assert told(lines) == [("events sent", 3)]
    for ago in (5, 7, 6):
        booked(account, *[Accepted("a")] * 10, ago=ago)
    assert len(lines) == 1
    clock.advance(1)
    booked(account, Accepted("a"), ago=4)
    assert told(lines[1:]) == [("events sent", 31)]
    assert lines[1]["oldest_stopped_ago"] == max(0, (NOON - entry("e").time).total_seconds() + 7)


def test_when_nothing_more_is_to_be_sent_the_rest_is_told_and_nothing_is_told_twice(lines: list[Any]) -> None:
    account = Account(QuickClock(), Metrics())
    booked(account, Accepted("a"))
    booked(account, Accepted("a"), Accepted("b"))
    for _ in range(3):
        account.tell()
    assert told(lines) == [("events sent", 1), ("events sent", 2)]


def test_every_entry_that_was_not_accepted_is_told_by_its_id(lines: list[Any]) -> None:
    account = Account(QuickClock(), Metrics())
    for _ in range(2):
        booked(account, Rejected("MalformedDetail", "why"), Accepted("a"), Retry("ThrottlingException"))
    assert told(lines)[:3] == [("events sent", 1), ("entry dead", "e-0"), ("entry postponed", "e-2")]
    assert told(lines)[3:] == [("entry dead", "e-0"), ("entry postponed", "e-2")]
