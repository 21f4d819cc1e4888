"""The log of delivery: one line per entry that is not accepted, and one line per second for the others."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from forwarder.aws.eventbridge import PublishResult
from forwarder.delivery.batch import Batch, PublishedBatch
from forwarder.delivery.reporting import DeliveryReporter
from forwarder.delivery.retry import decide
from forwarder.metrics import Metrics
from forwarder.model import Accepted, ClaimedEntry, Outcome, Rejected, Retry
from tests.factories import entry
from tests.virtual_clock import NOON, QuickClock


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def summaries(lines: list[Any]) -> list[tuple[str, object]]:
    return [(line["event"], line.get("entries") or line.get("execution_id")) for line in lines]


def settled(reporter: DeliveryReporter, *outcomes: Outcome, ago: float = 0) -> None:
    now = NOON + timedelta(seconds=ago)
    claimed = [ClaimedEntry(index, entry(f"e-{index}")) for index in range(len(outcomes))]
    settlements = [decide(each, outcome, now) for each, outcome in zip(claimed, outcomes, strict=True)]
    reporter.settled(PublishedBatch(Batch(claimed, []), PublishResult(list(outcomes))), settlements, now)


def test_accepted_events_are_logged_at_most_once_a_second(lines: list[Any]) -> None:
    clock = QuickClock()
    reporter = DeliveryReporter(clock, Metrics())
    settled(reporter, *[Accepted("a")] * 3)
    assert summaries(lines) == [("events sent", 3)]
    for ago in (5, 7, 6):
        settled(reporter, *[Accepted("a")] * 10, ago=ago)
    assert len(lines) == 1
    clock.advance(1)
    settled(reporter, Accepted("a"), ago=4)
    assert summaries(lines[1:]) == [("events sent", 31)]
    assert lines[1]["max_age_seconds"] == max(0, (NOON - entry("e").time).total_seconds() + 7)


def test_flush_logs_the_remaining_count_once(lines: list[Any]) -> None:
    reporter = DeliveryReporter(QuickClock(), Metrics())
    settled(reporter, Accepted("a"))
    settled(reporter, Accepted("a"), Accepted("b"))
    for _ in range(3):
        reporter.flush()
    assert summaries(lines) == [("events sent", 1), ("events sent", 2)]


def test_flush_if_due_logs_at_most_once_a_second(lines: list[Any]) -> None:
    clock = QuickClock()
    reporter = DeliveryReporter(clock, Metrics())
    for _ in range(2):
        settled(reporter, Accepted("a"))
        reporter.flush_if_due()
    assert summaries(lines) == [("events sent", 1)]
    clock.advance(1)
    reporter.flush_if_due()
    assert summaries(lines) == [("events sent", 1)] * 2


def test_each_unaccepted_entry_is_logged_with_its_id(lines: list[Any]) -> None:
    reporter = DeliveryReporter(QuickClock(), Metrics())
    for _ in range(2):
        settled(reporter, Rejected("MalformedDetail", "why"), Accepted("a"), Retry("ThrottlingException"))
    assert summaries(lines)[:3] == [
        ("events sent", 1),
        ("event dead-lettered", "e-0"),
        ("event retry scheduled", "e-2"),
    ]
    assert summaries(lines)[3:] == [("event dead-lettered", "e-0"), ("event retry scheduled", "e-2")]
