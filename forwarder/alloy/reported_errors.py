"""The errors that a response with a status of success reports in its body.

A page without executions that reports an error is not the end of the listing. If it counted as the end, the pages after
it would not be read.
"""

from typing import Any

from forwarder.errors import SourceUnavailable
from forwarder.redaction import sanitize
from forwarder.untrusted_json import decode_or_none

_FLAGS = ("success", "ok")
_ERRORS = ("error", "errors")
_STATUSES = ("status", "statusCode", "code")
_FAILED = frozenset({"error", "fail", "failed", "failure"})
_MESSAGES = ("message", "error", "errors", "msg", "detail", "description", "reason", "code")

MIN_ERROR_STATUS = 400
MAX_LEVELS = 4


def reported_error(body: bytes) -> SourceUnavailable | None:
    """Return the error that a body reports instead of content, or None."""
    content = decode_or_none(body)
    if not isinstance(content, dict) or not _is_error(content):
        return None
    message = _message(content, MAX_LEVELS)
    suffix = f": {sanitize(message)}" if message else ""
    return SourceUnavailable(
        f"the logs API reports an error under a status of success{suffix}",
        hint="the listing is read again; if this persists, report it to the operator of the logs API",
    )


def _is_error(content: dict[str, Any]) -> bool:
    return (
        any(content.get(name) is False for name in _FLAGS)
        or any(content.get(name) for name in _ERRORS)
        or any(_is_error_status(content.get(name)) for name in _STATUSES)
    )


def _is_error_status(value: object) -> bool:
    if isinstance(value, str):
        if not value.isdecimal():
            return value.strip().lower() in _FAILED
        value = int(value[:9])
    return isinstance(value, int) and value >= MIN_ERROR_STATUS


def _message(value: object, levels: int) -> str:
    """Return the first text under one of the names in _MESSAGES, at most `levels` levels deep, or an empty text."""
    if isinstance(value, str):
        return value.strip()
    if not levels:
        return ""
    if isinstance(value, list):
        return _message(value[0], levels - 1) if value else ""
    if isinstance(value, dict):
        return next((text for name in _MESSAGES if (text := _message(value.get(name), levels - 1))), "")
    return ""
