"""The judgements of the fleet soak, each on a record without processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from forwarder.ledger.dynamodb.schema import digest
from tests.fakes.eventbridge import DeliveredEvent
from tests.faults.fleet_duplicates import Duplicates, explain
from tests.faults.fleet_record import (
    CUT_OFF,
    KILLED,
    NO_PROCESSOR,
    PAUSED,
    SLOW_TABLE,
    STOPPED,
    TABLE_FAULT,
    Disturbance,
    Heartbeat,
    Membership,
    Record,
    TakeOver,
)
from tests.faults.fleet_take_overs import take_over_problems

MEMBER, HEIR, SOURCE, EXECUTION = "aa", "bb", "fleet.process-0", "x1"
LAST = 10.0
"""The time of the last heartbeat before a take-over."""


def record_of(*disturbances: Disturbance, until: float = LAST, taken_over_at: float | None = None) -> Record:
    """Return the record of a member that wrote heartbeats until a time, and was taken over then or not."""
    heartbeats = [Heartbeat(until - 0.4 * (20 - number), number) for number in range(1, 21)]
    record = Record("process-0", [Membership(MEMBER, 1, 0.0, heartbeats)], [*disturbances], run=1)
    if taken_over_at is not None:
        record.take_overs.append(TakeOver(MEMBER, HEIR, taken_over_at))
    return record


def explained(record: Record, sent_at: float, owners: Sequence[str] = (MEMBER, HEIR)) -> Duplicates:
    """Explain an event of the member that was sent again by its heir."""
    detail = f'{{"executionId": "{EXECUTION}"}}'
    events = [
        DeliveredEvent(name, {"Source": SOURCE, "Detail": detail}, datetime.fromtimestamp(at, UTC), index)
        for index, (name, at) in enumerate([("e1", sent_at), ("e2", 60.0)])
    ]
    item = {"ev": "e2", "lg": [f"{owner}/1/0 {letter}" for owner, letter in zip(owners, "ra", strict=False)]}
    return explain({EXECUTION: events}, {digest(EXECUTION): item}, records={SOURCE: record}, misreported=())


def delayed_by(seconds: float) -> Callable[[float, float], float]:
    return lambda _begin, _end: seconds


# Take-overs.


def test_take_over_within_the_period_is_a_problem() -> None:
    problems = [*take_over_problems([record_of(Disturbance(PAUSED, 1, 10.1, 11.4), taken_over_at=LAST + 1.5)])]
    assert problems == [
        "process-0/aa was taken over by bb: its heartbeat stood still for only 1.50 s"
    ]  # fmt: skip


def test_take_over_of_an_undisturbed_member_is_a_problem() -> None:
    problems = [*take_over_problems([record_of(taken_over_at=LAST + 2.2)])]
    assert problems == [
        "process-0/aa was taken over by bb: nothing explains 2.20 of 2.20 s without a heartbeat"
    ]  # fmt: skip


def test_take_over_after_a_short_pause_alone_is_a_problem() -> None:
    assert [*take_over_problems([record_of(Disturbance(PAUSED, 1, 10.1, 10.4), taken_over_at=LAST + 2.2)])]


def test_take_over_after_an_earlier_pause_is_a_problem() -> None:
    assert [*take_over_problems([record_of(Disturbance(KILLED, 0, 9.0), taken_over_at=LAST + 2.2)])]


def test_take_over_of_a_process_that_stops_is_a_problem() -> None:
    assert [*take_over_problems([record_of(Disturbance(STOPPED, 1, LAST, 14.0), taken_over_at=LAST + 2.2)])]


@pytest.mark.parametrize(
    "disturbance",
    [
        Disturbance(KILLED, 1, 10.2),
        Disturbance(PAUSED, 1, 10.2, 13.0),
        Disturbance(CUT_OFF, 1, 10.2, 12.0),
        Disturbance(TABLE_FAULT, 1, 10.4, 10.9),
        Disturbance(SLOW_TABLE, 1, 10.4, 11.4),
    ],
    ids=lambda each: each.kind,
)
def test_take_over_after_a_disturbed_silence_is_no_problem(disturbance: Disturbance) -> None:
    assert not [*take_over_problems([record_of(disturbance, taken_over_at=LAST + 2.2)])]


def test_take_over_of_a_process_without_processor_is_no_problem() -> None:
    record = record_of(taken_over_at=LAST + 2.2)
    record.delayed = delayed_by(0.6)
    assert not [*take_over_problems([record])]


def test_take_over_of_a_member_that_left_is_no_problem() -> None:
    record = record_of(taken_over_at=LAST + 0.3)
    record.memberships[0].add(Heartbeat(LAST + 0.1, 21, left=True))
    assert not [*take_over_problems([record])]


def test_repeated_heartbeat_does_not_end_a_silence() -> None:
    """The observers see only that the number does not change."""
    record = record_of(Disturbance(CUT_OFF, 1, 10.2, 12.0), taken_over_at=LAST + 2.2)
    record.memberships[0].add(Heartbeat(LAST + 1, 20))
    assert not [*take_over_problems([record])]


# Duplicates.


@pytest.mark.parametrize("kind", [KILLED, STOPPED])
def test_duplicate_in_flight_at_the_end_is_explained(kind: str) -> None:
    assert explained(record_of(Disturbance(kind, 1, LAST, 11.0)), LAST - 0.3).causes == {kind: 1}


@pytest.mark.parametrize("kind", [KILLED, STOPPED])
def test_duplicate_sent_long_before_the_end_is_a_problem(kind: str) -> None:
    assert explained(record_of(Disturbance(kind, 1, LAST, 11.0)), LAST - 4).problems


def test_duplicate_of_a_long_pause_is_explained() -> None:
    record = record_of(Disturbance(PAUSED, 1, 10.2, 14.0), taken_over_at=12.4)
    assert explained(record, 10.1).causes == explained(record, 14.05).causes == {PAUSED: 1}


def test_duplicate_sent_long_before_a_pause_is_a_problem() -> None:
    assert explained(record_of(Disturbance(PAUSED, 1, 10.2, 14.0), taken_over_at=12.4), LAST - 4).problems


def test_duplicate_with_a_short_pause_is_a_problem() -> None:
    """A pause without a take-over explains nothing, and neither does a take-over that nothing explains."""
    pause = Disturbance(PAUSED, 1, 10.1, 10.6)
    assert explained(record_of(pause, until=20), 10.05).problems
    assert explained(record_of(pause, taken_over_at=LAST + 1.5), 10.05).problems


def test_duplicate_of_an_undisturbed_member_is_a_problem() -> None:
    assert explained(record_of(taken_over_at=LAST + 2.2), LAST + 0.1).problems


def test_duplicate_published_long_after_a_heartbeat_is_a_problem() -> None:
    """A process that is cut off publishes nothing once its own heartbeat is old."""
    record = record_of(Disturbance(CUT_OFF, 1, 10.2, 14.0), taken_over_at=12.4)
    assert explained(record, 11.0).causes == {CUT_OFF: 1}
    assert explained(record, 12.2).problems


def test_duplicate_of_a_process_without_processor_is_explained() -> None:
    record = record_of(taken_over_at=LAST + 2.2)
    record.delayed = delayed_by(1.9)
    assert explained(record, LAST + 0.1).causes == {NO_PROCESSOR: 1}


def test_duplicate_without_a_later_owner_is_a_problem() -> None:
    assert explained(record_of(Disturbance(KILLED, 1, LAST)), LAST - 0.1, owners=[MEMBER]).problems


def test_duplicate_during_a_disturbed_table_is_in_flight_longer() -> None:
    """The settlement is repeated while the table refuses it, and the heartbeats reach the table between."""
    cut_off = Disturbance(CUT_OFF, 1, LAST - 4, LAST)
    assert explained(record_of(cut_off, Disturbance(KILLED, 1, LAST)), LAST - 4).causes == {KILLED: 1}
