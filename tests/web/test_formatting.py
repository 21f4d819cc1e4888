"""Formats of numbers, times and messages on the page."""

from datetime import timedelta

import pytest

from forwarder.web.formatting import ago, duration, elapsed, iso_time, number, prose
from tests.virtual_clock import NOON


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (timedelta(0), "0 ms"),
        (timedelta(microseconds=999_400), "999 ms"),
        (timedelta(seconds=1.26), "1.3 s"),
        (timedelta(seconds=38), "38 s"),
        (timedelta(seconds=119), "119 s"),
        (timedelta(minutes=12), "12 min"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=3), "3 d"),
    ],
)
def test_duration_has_two_significant_digits(time: timedelta, expected: str) -> None:
    assert duration(time) == expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=60), "1 min ago"),
        (timedelta(minutes=119), "119 min ago"),
        (timedelta(hours=2), "2 h ago"),
        (timedelta(days=2), "2 d ago"),
    ],
)
def test_ago_is_rounded_to_the_minute(time: timedelta, expected: str) -> None:
    assert ago(NOON - time, NOON) == expected


def test_elapsed_is_a_plain_duration() -> None:
    assert elapsed(NOON - timedelta(hours=5), NOON) == "5 h"
    assert elapsed(NOON, NOON) == "less than a minute"


def test_number_above_999_is_grouped_by_thousands() -> None:
    assert (number(999), number(1_234_567)) == ("999", "1\N{THIN SPACE}234\N{THIN SPACE}567")


def test_prose_escapes_text_and_sets_commands_as_code() -> None:
    assert prose("run `a <b>` & wait") == "Run <code>a &lt;b&gt;</code> &amp; wait"


def test_iso_time_is_in_utc() -> None:
    assert iso_time(NOON) == "2026-11-02T12:00:00Z"
