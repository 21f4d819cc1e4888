"""The parsing of durations: `200ms`, `30s`, `5m`, `24h`, `7d`, or several together: `1h30m`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer

from forwarder.model import EARLIEST_YEAR

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_TERM = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"(?:{_TERM.pattern})+")
_MAX_DURATION = timedelta(days=3650)


def parse_duration(value: object) -> timedelta:
    """Return the duration of a text such as `1h30m`. Raise ValueError if it is invalid or longer than ten years.

    The message of the error has an example, and never holds the value.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _WHOLE.fullmatch(value.strip()):
        raise ValueError("is not a duration such as 30s, 5m or 24h")
    total = sum((float(number) * _UNITS[unit] for number, unit in _TERM.findall(value)), timedelta())
    if total > _MAX_DURATION:
        raise ValueError("is longer than ten years")
    return total


def format_duration(value: timedelta) -> str:
    """Return the shortest text that `parse_duration` reads, in whole milliseconds."""
    left = round(value / _UNITS["ms"])
    terms = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        if count:
            terms.append(f"{count}{unit}")
    return "".join(terms) or "0s"


def parse_start(value: object) -> object:
    """Return the start of a new feed: "now", "beginning", a duration back from now, or an aware time.

    A time without a zone is taken as UTC. Raise ValueError for any other value.
    """
    if isinstance(value, str) and value in ("now", "beginning"):
        return value
    if isinstance(value, datetime):
        if value.year < EARLIEST_YEAR:
            raise ValueError(f"is before {EARLIEST_YEAR}")
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str) and "T" in value:
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("is not a time such as 2026-01-31T00:00:00Z") from None
        return parse_start(time)
    try:
        return parse_duration(value)
    except ValueError:
        raise ValueError('is not "now", "beginning", a duration such as 24h, or a time') from None


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
StartFrom = Annotated[Literal["now", "beginning"] | timedelta | datetime, BeforeValidator(parse_start)]
