"""The formats of times and ages."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.time_format import format_age, rfc3339
from tests.factories import examples
from tests.virtual_clock import NOON


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001  # hypothesis wants naive bounds
@examples(100)
def test_rfc3339_is_read_as_the_same_millisecond(time: datetime) -> None:
    assert datetime.fromisoformat(rfc3339(time)) == time - timedelta(microseconds=time.microsecond % 1000)


def test_rfc3339_is_in_utc_with_z() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert rfc3339(east) == "2026-11-02T12:00:00.000Z"
    assert rfc3339(east, timespec="seconds") == "2026-11-02T12:00:00Z"


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(0), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(seconds=60), "1 min"),
        (timedelta(minutes=119, seconds=59), "119 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=2), "2 d"),
        (timedelta(days=400), "400 d"),
    ],
)
def test_age_has_one_unit(age: timedelta, expected: str) -> None:
    assert format_age(NOON - age, NOON) == expected
