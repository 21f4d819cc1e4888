"""The parsing of times, in every form that the logs API may return.

A value is one of three things: a time, no time (null, an empty text, a zero, a placeholder such as "N/A"), or present
but unreadable. The difference matters for a stop: an unreadable stop is a stop, and a placeholder is not.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MIN_UNIX_SECONDS = 100_000_000
"""The least number of seconds that counts as a time, in 1973. A smaller number is a counter or a duration."""

MAX_UNIX_SECONDS = 1e11
"""A number above this is not in seconds. It is the year 5138 in seconds, and 1973 in milliseconds."""

MAX_TIME_CHARACTERS = 200

_PLACEHOLDERS = frozenset({"", "null", "none", "nil", "undefined", "n/a", "na", "-", "--", "never", "nan"}) | {
    "invalid date",
    "not finished",
    "not stopped",
    "in progress",
    "running",
    "pending",
    "\N{EN DASH}",
    "\N{EM DASH}",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ZONE_HOURS = {"": 0, "z": 0, "utc": 0, "ut": 0, "gmt": 0, "est": -5, "edt": -4, "cst": -6, "cdt": -5} | {
    "mst": -7,
    "mdt": -6,
    "pst": -8,
    "pdt": -7,
    "cet": 1,
    "cest": 2,
    "bst": 1,
}

_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
_COMPACT_CLOCK = r"(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?"
_ZONE = r"(?P<zone>[a-z]{1,4})?\s*(?P<offset>[+-]\d\d:?(?:\d\d)?(?::?\d\d)?)?"
# Java adds a region in brackets, Go a name and a monotonic clock, JavaScript a name in the language of the machine.
_REST = r"(?:\s*\[[^\]]*\]|\s+[a-z]{2,5}(?:\s+m=\S+)?|\s*\(.*\))?"
_WEEKDAY = r"(?:[a-z]{2,9}\.?,?\s+)?"
_MONTH = r"(?P<month_name>[a-z]{3,9})\.?"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE | re.DOTALL)
    for form in (
        rf"(?P<year>\d{{4}})[-/](?P<month>\d\d)[-/](?P<day>\d\d)(?:[t_\s]\s*{_CLOCK}\s*{_ZONE}{_REST})?",
        rf"(?P<year>(?:19|20)\d\d)(?P<month>\d\d)(?P<day>\d\d)(?:t?{_COMPACT_CLOCK}{_ZONE})?",
        rf"{_WEEKDAY}{_MONTH}\s+(?P<day>\d{{1,2}}),?\s+(?P<year>\d{{4}}),?\s+{_CLOCK}\s*{_ZONE}{_REST}",
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})[\s-]{_MONTH}[\s-](?P<year>\d{{4}})\s+{_CLOCK}\s*{_ZONE}{_REST}",
        rf"{_WEEKDAY}{_MONTH}\s+(?P<day>\d{{1,2}})\s+{_CLOCK}\s+(?:{_ZONE}\s+)?(?P<year>\d{{4}})",
    )
)
_LIST_LENGTHS = (5, 6, 7)
_WRAPPERS = ("$date", "$numberLong", "$numberDouble", "$numberDecimal", "$numberInt")
_SECONDS_KEYS = (("seconds", "nanos"), ("_seconds", "_nanoseconds"), ("seconds", "nanoseconds"))


def read_time(value: Any) -> datetime | None:
    """Return the time in UTC, or None if the value is no time or unreadable. `is_no_time` tells these two apart."""
    try:
        time = _read(value)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return time if time is not None and time.year > EPOCH.year else None


def is_no_time(value: Any) -> bool:
    """Return whether the value stands for a missing time, as null, 0, "N/A" and "0000-00-00" do."""
    if value is None or value is False or value == 0:
        return True
    if isinstance(value, str):
        text = value.strip().lower()
        return text in _PLACEHOLDERS or _is_zero(text)
    if isinstance(value, dict) and (inner := _inner(value)) is not None:
        return is_no_time(inner[0])
    return False


def _is_zero(text: str) -> bool:
    """Return whether a text is a zero date: 0000-00-00, 0001-01-01T00:00:00Z, the epoch itself, zeros as decimals."""
    if not any(digit in text for digit in "123456789"):
        return "0" in text
    return bool(re.match(r"0\d\d\d-\d\d-\d\d|1970-01-01|19[0-6]\d-\d\d-\d\d", text))


def _read(value: Any) -> datetime | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return _unix(value)
    if isinstance(value, str):
        return _text(value.strip())
    if isinstance(value, dict):
        return _read(inner[0]) if (inner := _inner(value)) else _seconds(value)
    if isinstance(value, list):
        return _components(value)
    return None


def _inner(value: dict[str, Any]) -> tuple[Any] | None:
    """Return the value inside MongoDB's extended JSON. A value has at most two wrappers, so the recursion ends."""
    if len(value) == 1 and (key := next(iter(value))) in _WRAPPERS:
        inner = value[key]
        if isinstance(inner, dict) and (key != "$date" or key in inner):
            return None
        return (inner,)
    return None


def _seconds(value: dict[str, Any]) -> datetime | None:
    for seconds, nanos in _SECONDS_KEYS:
        if seconds in value and set(value) <= {seconds, nanos}:
            return _unix(float(value[seconds]) + float(value.get(nanos) or 0) / 1e9)
    return None


def _components(value: list[Any]) -> datetime | None:
    """Return the time of Java's LocalDateTime as a list: year, month, day, hour, minute, second, nanoseconds."""
    if len(value) not in _LIST_LENGTHS or not all(type(number) is int for number in value):
        return None
    year, month, day, hour, minute, second, nanos = (*value, 0, 0)[:7]
    return datetime(year, month, day, hour, minute, second, nanos // 1000, tzinfo=UTC)


def _unix(number: float) -> datetime | None:
    """Return the time of a number of seconds, milliseconds, microseconds or nanoseconds. Its size decides the unit."""
    seconds: float = number
    for _ in range(3):
        if seconds > MAX_UNIX_SECONDS:
            seconds /= 1000
    if not MIN_UNIX_SECONDS <= seconds <= MAX_UNIX_SECONDS:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _text(text: str) -> datetime | None:
    if not text or len(text) > MAX_TIME_CHARACTERS:
        return None
    for form in _FORMS:
        if match := form.fullmatch(text):
            return _calendar(match.groupdict(default=""))
    try:
        return _unix(float(text))
    except ValueError:
        return _aware(datetime.fromisoformat(text))


def _calendar(components: dict[str, str]) -> datetime:
    """Return the time of the groups of a pattern in UTC. A leap second is the next second, and 24:00 the next day.

    Raise ValueError for a date that does not exist.
    """
    month = (
        int(components["month"]) if components.get("month") else _MONTHS.index(components["month_name"][:3].lower()) + 1
    )
    hour, minute, second = (int(components.get(name) or 0) for name in ("hour", "minute", "second"))
    extra = timedelta()
    if second == 60:  # noqa: PLR2004  # a leap second
        second, extra = 59, timedelta(seconds=1)
    if (hour, minute, second) == (24, 0, 0):
        hour, extra = 0, timedelta(days=1)
    microsecond = int((components.get("fraction") or "0")[:6].ljust(6, "0"))
    zone = _zone(components.get("zone") or "", components.get("offset") or "")
    day = datetime(
        int(components["year"]), month, int(components["day"]), hour, minute, second, microsecond, tzinfo=zone
    )
    return (day + extra).astimezone(UTC)


def _zone(name: str, offset: str) -> timezone:
    """Return the zone of an offset such as +01:00, else of a name such as CET. Raise ValueError for an unknown name."""
    if offset:
        digits = offset[1:].replace(":", "").ljust(6, "0")
        shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:6]))
        return timezone(-shift if offset[0] == "-" else shift)
    if name.lower() not in _ZONE_HOURS:
        raise ValueError("the time zone is not known")
    return timezone(timedelta(hours=_ZONE_HOURS[name.lower()]))


def _aware(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
