"""The parsing and formatting of durations and of `start_from`."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.settings.duration import format_duration, parse_duration, parse_start
from tests.factories import examples


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("200ms", 0.2), ("30s", 30), ("5m", 300), ("24h", 86_400), ("7d", 604_800), ("1h30m", 5400), ("1.5s", 1.5),
     ("0s", 0), (" 5s ", 5), ("1m1ms", 60.001), ("3650d", 3650 * 86_400)],
)  # fmt: skip
def test_duration_in_any_unit_is_parsed(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "5 s",
        "-5s",
        "5S",
        "5s!",
        "1e3s",
        "5min",
        "3651d",
        "9" * 10 + "s",
        "999999999d",
        5,
        None,
        5.0,
        True,
        [],
        "5s\n5s",
    ],
)
def test_invalid_duration_is_refused_and_not_printed(text: object) -> None:
    with pytest.raises(ValueError, match=r"^is (not a duration|longer than)") as raised:
        parse_duration(text)
    assert not (isinstance(text, str) and len(text) > 4 and text in str(raised.value))


@given(st.integers(0, 3650 * 86_400_000))
@examples(200)
def test_formatted_duration_is_parsed_to_the_same_value(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(minutes=90), "1h30m"),
        (timedelta(), "0s"),
        (timedelta(days=7), "7d"),
        (timedelta(seconds=1.5), "1s500ms"),
    ],
)
def test_duration_is_formatted_in_its_shortest_form(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("now", "now"),
        ("beginning", "beginning"),
        ("24h", timedelta(days=1)),
        ("2026-01-31T00:00:00Z", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T00:00:00", datetime(2026, 1, 31, tzinfo=UTC)),
        (datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)),
        (datetime(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)),  # noqa: DTZ001  # as TOML gives one
    ],
)
def test_start_is_a_word_a_duration_or_a_time(text: object, start: object) -> None:
    assert parse_start(text) == start


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-31", "T", "2026-13-01T00:00:00Z", 5, None, "Now"])
def test_other_start_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"^is "):
        parse_start(text)
