"""The decoding of pages into executions, in every documented variant of the logs API.

The fast path decodes a whole page into typed records. A record that does not fit is decoded again, field by field. Only
a record without an id, or with an id that is too long, is rejected.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from forwarder.alloy.json_repair import repair_json
from forwarder.alloy.number_lists import shorten_number_lists
from forwarder.alloy.times import is_no_time, read_time
from forwarder.errors import PageUndecodable, PageUnreadable
from forwarder.model import Execution, is_id
from forwarder.untrusted_json import JSON_ERRORS


class _Page(msgspec.Struct):
    data: list[Execution]


class _RawPage(msgspec.Struct):
    data: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record that cannot be decoded as an execution. `digest` identifies it in the log without its content."""

    reason: str
    digest: str


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one page. `rejected` are those that cannot be decoded."""

    executions: list[Execution]
    rejected: list[RejectedRecord]

    @property
    def is_empty(self) -> bool:
        return not self.executions and not self.rejected


_pages = msgspec.json.Decoder(_Page)
_raw_pages = msgspec.json.Decoder(_RawPage)
_records = msgspec.json.Decoder(Execution)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_values = msgspec.json.Decoder()

START_NAMES = ("startedAt", "startTime")
STOP_NAMES = ("stoppedAt", "completedAt", "finishedAt", "endedAt", "stopTime", "endTime")
"""Names of the two times. `startedAt`, `stoppedAt` and `completedAt` are documented. The others are names that similar
products use; they are read only if a record has no time under its documented name."""

_ALTERNATIVE_NAMES = tuple(f'"{name}"'.encode() for name in (*START_NAMES[1:], *STOP_NAMES[2:]))
_SHORT_FIELDS = ("executionId", "status", "finished", "message", *START_NAMES, *STOP_NAMES)

MAX_NULL_BYTES = 64


def decode_page(body: bytes) -> Records:
    """Return the executions of a page, and its rejected records.

    Raise PageUndecodable if the JSON is broken inside, and PageUnreadable if the body is not a page at all.
    """
    try:
        executions = _pages.decode(body).data
    except JSON_ERRORS:
        return _decode_one_by_one(body)
    # A record without one of its times may have it under another name. Most pages have no such record.
    for execution in executions:
        if _lacks_time(execution):
            return (
                _decode_one_by_one(body)
                if any(name in body for name in _ALTERNATIVE_NAMES)
                else Records(executions, [])
            )
    return Records(executions, [])


def digest_of(body: bytes | bytearray) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def has_several_records(body: bytes | bytearray) -> bool:
    """Return whether a body that cannot be decoded names more than one execution."""
    return body.count(b'"executionId"') > 1


def _reject_invalid_ids(executions: list[Execution]) -> Records:
    rejected = [
        RejectedRecord("its executionId is empty or too long", digest_of(execution.id.encode()))
        for execution in executions
        if not is_id(execution.id)
    ]
    return Records([execution for execution in executions if is_id(execution.id)], rejected)


def _decode_one_by_one(body: bytes) -> Records:
    page = _raw_page(body)
    executions: list[Execution] = []
    rejected: list[RejectedRecord] = []
    for raw in page.data:
        try:
            execution = _decode_leniently(raw)
        except JSON_ERRORS as error:
            reason = str(error) if type(error) is ValueError else "it cannot be decoded"
            rejected.append(RejectedRecord(reason, digest_of(bytes(raw))))
        else:
            executions.append(execution)
    valid = _reject_invalid_ids(executions)
    return Records(valid.executions, rejected + valid.rejected)


def _raw_page(body: bytes) -> _RawPage:
    for form in (bytes, _repair):
        try:
            return _raw_pages.decode(form(body))
        except msgspec.ValidationError:
            raise PageUnreadable("the logs API responded with JSON that is not a page of executions") from None
        except JSON_ERRORS:
            continue
    # A body that was cut, or is HTML, does not end with a brace. Reading it record by record would not help.
    if body.lstrip()[:1] == b"{" and body.rstrip()[-1:] == b"}":
        raise PageUndecodable(
            "a response of the logs API has invalid JSON inside",
            digest=digest_of(body),
            has_several_records=has_several_records(body),
        )
    raise PageUnreadable("the logs API responded with a body that is not JSON")


def _repair(raw: bytes | msgspec.Raw) -> bytes:
    return repair_json(shorten_number_lists(bytes(raw)))


def _decode_leniently(raw: msgspec.Raw) -> Execution:
    """Return a record as an execution. A field of an unexpected type is converted or left out.

    Raise ValueError if the record is not an object or has no id.
    """
    try:
        execution = _records.decode(raw)
        if not _lacks_time(execution):
            return execution
    except JSON_ERRORS:
        pass
    fields = _fields_of(raw)
    values = {key: _value(fields[key]) for key in _SHORT_FIELDS if key in fields}
    stop, unreadable = _stop(values)
    finished = values.get("finished")
    return Execution(
        id=_id(values),
        started_at=next((time for key in START_NAMES if (time := read_time(values.get(key)))), None),
        stopped_at=stop,
        status=_text(values.get("status")),
        finished=finished if isinstance(finished, bool) else None,
        message=_text(values.get("message")),
        error=_empty_if_null(fields.get("error")),
        results=_empty_if_null(fields.get("results")),
        unreadable_stop=unreadable,
    )


def _fields_of(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Return the fields of a record by name, undecoded. Long fields are decoded where they are used.

    Raise ValueError if the record is not an object, or cannot be repaired.
    """
    try:
        return _fields.decode(raw)
    except msgspec.ValidationError:
        raise ValueError("it is not an object") from None
    except JSON_ERRORS:
        repaired = _repair(raw)
    try:
        return _fields.decode(repaired)
    except msgspec.ValidationError:
        raise ValueError("it is not an object") from None


def _value(raw: msgspec.Raw) -> Any:
    try:
        return _values.decode(raw)
    except JSON_ERRORS:
        return _values.decode(_repair(raw))


def _lacks_time(execution: Execution) -> bool:
    return execution.started_at is None or (execution.stopped_at is None and execution.completed_at is None)


def _id(fields: dict[str, Any]) -> str:
    execution_id = fields.get("executionId")
    if isinstance(execution_id, str):
        return execution_id
    if isinstance(execution_id, int) and not isinstance(execution_id, bool):
        return str(execution_id)
    raise ValueError("it has no executionId")


def _stop(fields: dict[str, Any]) -> tuple[datetime | None, bool]:
    """Return the first readable stop time or None, and whether there are only unreadable stop times."""
    present = [value for key in STOP_NAMES if not is_no_time(value := fields.get(key))]
    time = next((time for value in present if (time := read_time(value)) is not None), None)
    return time, time is None and bool(present)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _empty_if_null(raw: msgspec.Raw | None) -> msgspec.Raw:
    return msgspec.Raw(b"") if raw is None or (len(raw) < MAX_NULL_BYTES and bytes(raw).strip() == b"null") else raw
