"""What the logs API says, in any of its documented variants, as executions.

The quick way decodes a whole page into typed records. Where a record does not fit, it alone is read again with
patience; only one without an id, or with one too long, is refused.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from forwarder.alloy.mend import mend
from forwarder.errors import PageUndecodable, PageUnreadable
from forwarder.model import Execution, is_id


class _Page(msgspec.Struct):
    data: list[Execution]


class _RawPage(msgspec.Struct):
    data: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that cannot be an execution of ours. `digest` names it in the log without telling its content."""

    reason: str
    digest: str


@dataclass(frozen=True, slots=True)
class Records:
    executions: list[Execution]
    refused: list[Refused]

    @property
    def empty(self) -> bool:
        return not self.executions and not self.refused


_pages = msgspec.json.Decoder(_Page)
_raw_pages = msgspec.json.Decoder(_RawPage)
_records = msgspec.json.Decoder(Execution)
_anything = msgspec.json.Decoder()

LATEST_SECONDS = 1e11
"""A Unix time above this is in milliseconds: as seconds it would be the year 5138, as milliseconds it is 1973."""

# msgspec reports invalid UTF-8 as UnicodeDecodeError and deep nesting as RecursionError.
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_page(body: bytes) -> Records:
    """Raises PageUndecodable where the body is a page with something broken in it, PageUnreadable where it is none."""
    try:
        return Records(_pages.decode(body).data, [])
    except BROKEN:
        return _one_by_one(body)


def digest_of(body: bytes | bytearray) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def _checked(executions: list[Execution]) -> Records:
    refused = [
        Refused("its executionId is empty or too long", digest_of(execution.id.encode()))
        for execution in executions
        if not is_id(execution.id)
    ]
    return Records([execution for execution in executions if is_id(execution.id)], refused)


def _one_by_one(body: bytes) -> Records:
    page = _raw_page(body)
    executions: list[Execution] = []
    refused: list[Refused] = []
    for raw in page.data:
        try:
            execution = _patient(bytes(raw))
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
            reason = str(error) if type(error) is ValueError else "it cannot be decoded"
            refused.append(Refused(reason, digest_of(bytes(raw))))
        else:
            executions.append(execution)
    checked = _checked(executions)
    return Records(checked.executions, refused + checked.refused)


def _raw_page(body: bytes) -> _RawPage:
    for form in (bytes, mend):
        try:
            return _raw_pages.decode(form(body))
        except msgspec.ValidationError:
            raise PageUnreadable("the logs API answered with JSON that is no page of executions") from None
        except BROKEN:
            continue
    # A body that was cut, or is HTML, has no other end of the braces: there is nothing to read one by one.
    if body.lstrip()[:1] == b"{" and body.rstrip()[-1:] == b"}":
        raise PageUndecodable("an answer of the logs API is broken inside", digest=digest_of(body))
    raise PageUnreadable("the logs API answered with something that is not JSON")


def _patient(raw: bytes) -> Execution:
    """One record, whatever the types of its fields. Raises ValueError where it has no id."""
    try:
        return _records.decode(raw)
    except BROKEN:
        fields = _anything.decode(mend(raw))
    finished = fields.get("finished") if isinstance(fields, dict) else None
    return Execution(
        id=_id(fields),
        started_at=_time(fields.get("startedAt")),
        stopped_at=_stop(fields),
        status=_text(fields.get("status")),
        finished=finished if isinstance(finished, bool) else None,
        message=_text(fields.get("message")),
        error=_raw(fields.get("error")),
        results=_raw(fields.get("results")),
    )


def _id(fields: Any) -> str:
    if not isinstance(fields, dict):
        raise ValueError("it is not an object")  # noqa: TRY004  # of the record, not of a caller's argument
    execution_id = fields.get("executionId")
    if isinstance(execution_id, str):
        return execution_id
    if isinstance(execution_id, int) and not isinstance(execution_id, bool):
        return str(execution_id)
    raise ValueError("it has no executionId")


def _time(value: Any) -> datetime | None:
    """RFC 3339, another form of ISO 8601, or a Unix time in seconds or milliseconds; None for what is none of them."""
    try:
        if isinstance(value, str) and not value.strip().isdigit():
            return datetime.fromisoformat(value)
        seconds = float(value)
        return datetime.fromtimestamp(seconds / 1000 if abs(seconds) > LATEST_SECONDS else seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _stop(fields: dict[str, Any]) -> datetime | None:
    """A stop that is told in a form nobody reads is a stop all the same, not before the start."""
    told = [value for key in ("stoppedAt", "completedAt") if (value := fields.get(key)) not in (None, "")]
    times = [time for value in told if (time := _time(value)) is not None]
    if times:
        return times[0]
    return _time(fields.get("startedAt")) if told else None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(b"" if value is None else msgspec.json.encode(value))
