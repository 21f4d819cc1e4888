"""Times are read in every form that logs of this kind use, and placeholders are distinguished from unreadable times."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from forwarder.alloy.times import MAX_UNIX_SECONDS, MIN_UNIX_SECONDS, is_no_time, read_time
from tests.factories import examples, trees

TIME = datetime(2026, 11, 20, 3, 12, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "Fri Nov 20 2026 03:12:40 GMT+0000 (Coordinated Universal Time)",
        "Fri Nov 20 2026 04:12:40 GMT+0100 (Mitteleuropäische Normalzeit)",
        "Thu Nov 19 2026 22:12:40 GMT-0500 (Eastern Standard Time)",
        "Fri, 20 Nov 2026 03:12:40 GMT",
        "Fri, 20 Nov 2026 03:12:40 +0000",
        "Fri Nov 20 03:12:40 UTC 2026",
        "Fri Nov 20 03:12:40 2026",
        "2026-11-20 03:12:40",
        "2026-11-20T03:12:40",
        "2026-11-20t03:12:40z",
        "2026-11-20T03:12:40+0000",
        "2026-11-20T04:12:40+01",
        "2026-11-20T03:12:40.000000000Z",
        "2026-11-20T03:12:40,000Z",
        "2026-11-20T03:12:40 UTC",
        "2026-11-20 03:12:40 +0000 UTC m=+0.01",
        "2026-11-20T04:12:40+01:00[Europe/Berlin]",
        "20261120T031240Z",
        " 2026-11-20T03:12:40Z\n",
        1795144360,
        1795144360.0,
        1795144360000,
        1795144360000000,
        1795144360000000000,
        "1795144360",
        "1795144360.000",
        "1795144360000.0",
        {"$date": "2026-11-20T03:12:40Z"},
        {"$date": 1795144360000},
        {"$date": {"$numberLong": "1795144360000"}},
        {"_seconds": 1795144360, "_nanoseconds": 0},
        [2026, 11, 20, 3, 12, 40],
    ],
)
def test_time_in_any_form_is_read(value: Any) -> None:
    assert read_time(value) == TIME
    assert not is_no_time(value)


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-11-20T03:12:40.1234567891Z", TIME + timedelta(microseconds=123456)),
        ("1795144360.123", TIME + timedelta(milliseconds=123)),
        ("2026-11-20T03:12:60Z", TIME + timedelta(seconds=20)),
        ("2026-11-20T24:00:00Z", datetime(2026, 11, 21, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        (MIN_UNIX_SECONDS, datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
        (MAX_UNIX_SECONDS, datetime(5138, 11, 16, 9, 46, 40, tzinfo=UTC)),
    ],
)
def test_time_with_a_special_part_is_read(value: Any, time: datetime) -> None:
    assert read_time(value) == time


@pytest.mark.parametrize(
    "value",
    [
        None,
        False,
        0,
        0.0,
        "",
        " ",
        "0",
        "N/A",
        "n/a",
        "-",
        "null",
        "Invalid Date",
        "never",
        "0000-00-00 00:00:00",
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00.000Z",
        {"$date": None},
        {"$date": 0},
        {"$numberLong": "0"},
    ],
)
def test_placeholder_is_no_time(value: Any) -> None:
    assert is_no_time(value)
    assert read_time(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "2026-13-40T00:00:00Z",
        "2026-11-20T25:00:00Z",
        {},
        {"a": 1},
        [],
        [1],
        True,
        7,
        1e300,
        -1e300,
        "1e300",
        "2026-11-20 03:12:40 XYZ",
        "x" * 100000,
        {"$date": {"$date": {"$date": 1}}},
    ],
)
def test_unreadable_time_is_not_a_placeholder(value: Any) -> None:
    assert read_time(value) is None
    assert not is_no_time(value)


@given(trees)
@examples(200)
def test_any_value_is_a_time_or_none(value: Any) -> None:
    assert read_time(value) is None or not is_no_time(value)
