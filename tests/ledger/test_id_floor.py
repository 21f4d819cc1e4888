"""The floor of the ids of a shared ledger, as settings change and processes come and go."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.executions import Retention
from forwarder.ledger.dynamodb.id_floor import MAX_RAISE_INTERVAL, raise_floor
from tests.virtual_clock import NOON

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class SharedItem:
    """The ledger's item, which processes with different retentions change in turn."""

    item: dict[str, Any] = field(default_factory=dict)

    def raise_floor(self, retention: timedelta, after: timedelta) -> None:
        self.item |= raise_floor(self.item, retention, NOON + after)

    def records(self, stop: timedelta) -> bool:
        """Return whether an execution that stopped then is recorded, if no id of it is known."""
        return bool(to_micros(NOON + stop) > self.item.get("id_floor", -1))


def test_new_ledger_has_no_floor_until_ids_can_have_expired() -> None:
    """With start_from = "beginning", the first process reads executions that are older than the retention."""
    ledger = SharedItem()
    for hours in range(24 * 90):
        ledger.raise_floor(90 * DAY, hours * HOUR)
    assert ledger.records(-400 * DAY)
    ledger.raise_floor(90 * DAY, 90 * DAY + HOUR)
    assert not ledger.records(timedelta())
    assert ledger.records(2 * HOUR)


def test_ids_of_a_shorter_retention_stay_below_the_floor() -> None:
    """An id that was settled on the last day with the shorter retention expires long before the raised one."""
    ledger = SharedItem()
    for days in range(31):
        ledger.raise_floor((10 if days < 20 else 90) * DAY, days * DAY)
    assert not ledger.records(19 * DAY + 23 * HOUR)
    assert ledger.records(20 * DAY + HOUR)


def test_ids_that_expired_during_a_pause_stay_below_the_floor() -> None:
    """Nothing ran while they expired."""
    ledger = SharedItem()
    for days in range(20):
        ledger.raise_floor(10 * DAY, days * DAY)
    ledger.raise_floor(90 * DAY, 60 * DAY)
    assert not ledger.records(19 * DAY + 23 * HOUR)
    assert ledger.records(20 * DAY + HOUR)


def test_ids_of_a_middle_retention_stay_below_the_floor() -> None:
    """It was raised twice, and the ids of the second one expire after those of the first."""
    ledger = SharedItem()
    for hours, days in ((0, 10), (25, 11), (25 + 19 * 24, 30)):
        ledger.raise_floor(days * DAY, hours * HOUR)
    assert not ledger.records(25 * HOUR)


def test_clock_that_was_ahead_at_first_leaves_the_floor_to_work() -> None:
    ledger = SharedItem()
    ledger.raise_floor(10 * DAY, 4000 * DAY)
    ledger.raise_floor(10 * DAY, timedelta())
    ledger.raise_floor(10 * DAY, 11 * DAY)
    assert not ledger.records(timedelta())


def test_floor_of_a_ledger_without_a_time_of_creation_rises_on() -> None:
    ledger = SharedItem({"id_floor": to_micros(NOON - 90 * DAY)})
    ledger.raise_floor(90 * DAY, DAY)
    assert not ledger.records(-89 * DAY)


RETENTIONS = st.sampled_from([10 * DAY, 11 * DAY, 30 * DAY, 90 * DAY])
STEPS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 24), st.integers(0, 24 * 120)),  # hours until the step
        RETENTIONS,
        st.integers(0, MAX_RAISE_INTERVAL // HOUR),  # hours until the process settles an execution
        st.integers(0, 24 * 20),  # hours from its stop until its settlement
    ),
    min_size=2,
    max_size=40,
)


@given(STEPS)
def test_no_execution_whose_id_has_expired_is_recorded(steps: list[tuple[int, timedelta, int, int]]) -> None:
    """Whichever retentions processes use, and whenever they run: otherwise its event is sent a second time."""
    ledger, hours = SharedItem(), 0
    settled: list[tuple[timedelta, int]] = []
    for wait, retention, until_settled, age in steps:
        hours += wait
        ledger.raise_floor(retention, hours * HOUR)
        now = int((NOON + hours * HOUR).timestamp())
        assert not [stop for stop, expires in settled if expires <= now and ledger.records(stop)]
        at = (hours + until_settled) * HOUR
        expires = Retention(retention, DAY).execution_expiry(NOON + at - age * HOUR, NOON + at)
        settled.append((at - age * HOUR, expires))
