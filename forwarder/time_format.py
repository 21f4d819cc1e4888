"""The formats of times and ages in every output: RFC 3339 for programs, ages in one unit for people."""

from datetime import UTC, datetime, timedelta

_AGE_UNITS = (
    (timedelta(days=2), timedelta(days=1), "d"),
    (timedelta(hours=2), timedelta(hours=1), "h"),
    (timedelta(minutes=1), timedelta(minutes=1), "min"),
    (timedelta(0), timedelta(seconds=1), "s"),
)
"""The least age, the unit from that age on, and its name. From two hours on, rounding hides less than half."""


def rfc3339(time: datetime, *, timespec: str = "milliseconds") -> str:
    """Return an aware time in UTC, such as `2026-11-02T12:00:00.000Z`."""
    return f"{time.astimezone(UTC).isoformat(timespec=timespec)[:-6]}Z"  # without +00:00


def format_age(since: datetime, now: datetime) -> str:
    """Return the time since `since` in whole units, such as `38 s`, `119 min` or `3 d`. The future has age 0."""
    age = max(timedelta(0), now - since)
    unit, name = next((unit, name) for least, unit, name in _AGE_UNITS if age >= least)
    return f"{age // unit} {name}"
