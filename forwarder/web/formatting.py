"""The formatting of numbers, times, durations and errors on the page."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup, escape

from forwarder.event.failure import ListedError, listed_error
from forwarder.ledger import StoredEntry
from forwarder.time_format import format_age, rfc3339

JUST_NOW = timedelta(minutes=1)
"""An age below this is not shown in seconds, so that an idle page does not change continually."""

_THIN_SPACE = "\N{THIN SPACE}"

_UNITS = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min"))


def number(value: int) -> str:
    return f"{value:,}".replace(",", _THIN_SPACE)


def ago(time: datetime, now: datetime) -> str:
    return "just now" if now - time < JUST_NOW else f"{elapsed(time, now)} ago"


def elapsed(since: datetime, now: datetime) -> str:
    return "less than a minute" if now - since < JUST_NOW else format_age(since, now)


def duration(time: timedelta) -> str:
    """Return a duration in the unit that fits its size, such as `4 ms`, `1.3 s`, `38 s`, `12 min` or `3 d`."""
    for size, unit in _UNITS:
        if time >= 2 * size:
            return f"{time / size:.0f} {unit}"
    if time >= timedelta(seconds=10):
        return f"{time.total_seconds():.0f} s"
    if time >= timedelta(seconds=1):
        return f"{time.total_seconds():.1f} s"
    return f"{time / timedelta(milliseconds=1):.0f} ms"


def seconds(count: float) -> str:
    """Return a number of seconds as a duration: two digits are enough, so that the page changes rarely."""
    return duration(timedelta(seconds=float(f"{count:.2g}")))


def clock_time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%H:%M}"


def time_of_day(time: datetime) -> str:
    return f"{time.astimezone(UTC):%H:%M:%S} UTC"


def minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%d %b %Y, %H:%M} UTC"


def moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%d %b %Y, %H:%M:%S} UTC"


def iso_time(time: datetime) -> str:
    """Return the time for the `datetime` attribute of `<time>`."""
    return rfc3339(time, timespec="seconds")


def capitalize_first(text: str) -> str:
    """Return the text with a capital first letter. Messages of errors begin with a small letter."""
    return f"{text[:1].upper()}{text[1:]}"


def code_spans(text: str) -> Markup:
    """Return the text as escaped HTML, with `text in backticks` as a code element."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped before


def prose(text: str) -> Markup:
    return code_spans(capitalize_first(text))


def error(stored: StoredEntry) -> ListedError:
    """Return the error of an entry. Its fields are empty if the detail has none."""
    return listed_error(stored.entry.detail)


_FILTERS = (
    *(number, ago, elapsed, duration, seconds, clock_time, time_of_day, minute, moment, iso_time),
    *(capitalize_first, code_spans, prose, error),
)

FILTERS: Mapping[str, Callable[..., Any]] = {each.__name__: each for each in _FILTERS}
"""The filters of the templates, by name."""
