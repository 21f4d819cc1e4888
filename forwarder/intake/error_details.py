"""The parts of an error, in every form that the logs API uses."""

from typing import Any

import msgspec

from forwarder.event.block_errors import is_set

MAX_INNER_ERRORS = 20

_MESSAGE_KEYS = ("message", "description", "reason", "detail", "error")
_CODE_KEYS = ("code", "httpCode", "statusCode", "status")
_MEANINGLESS_CODES = frozenset({"", "error", "errored", "failed", "failure", "rejected"})
_MEANINGLESS_MESSAGES = frozenset({"", "[object Object]", "undefined", "null", "Error"})
_ID_KEYS = ("blockId", "connectorId")

ErrorFields = dict[str, Any]


def error_fields(error: Any, levels: int = MAX_INNER_ERRORS) -> ErrorFields:
    """Return the message of an error. Add its name, code, description, cause and stack, if present."""
    if isinstance(error, list):
        inner = next((item for item in error if isinstance(item, (dict, str)) and is_set(item)), None)
        if levels and inner is not None and (isinstance(inner, dict) or len(error) == 1):
            return error_fields(inner, levels - 1)
        return {"message": to_text(error)}
    if not isinstance(error, dict):
        return {"message": to_text(error)}
    inner = _inner_error(error) if levels else None
    fields = {"message": _message(error)} if inner is None else error_fields(inner, levels - 1)
    own: ErrorFields = {key: to_text(error[key]) for key in ("name", "stack") if error.get(key) not in (None, "")}
    if code := _code(error):
        own["code"] = code
    if description := _description(error, fields["message"]):
        own["description"] = description
    if cause := _cause(error.get("cause")):
        own["cause"] = cause
    return {**fields, **own}


def block_name(error: Any) -> str | None:
    """Return the id of the block that the error names, else the name of its node, else None."""
    if not isinstance(error, dict):
        return None
    node = error.get("node")
    named = node.get("name") if isinstance(node, dict) else node
    name = next((error[key] for key in _ID_KEYS if error.get(key)), None) or named
    return str(name) if isinstance(name, (str, int)) and name else None


def to_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _inner_error(error: ErrorFields) -> Any:
    """Return the error that is stored as the message, or else the first of `errors`, or None."""
    message = next((error[key] for key in _MESSAGE_KEYS if _is_meaningful(error.get(key))), None)
    if isinstance(message, (dict, list)):
        return message if isinstance(message, dict) or any(isinstance(item, dict) for item in message) else None
    errors = error.get("errors")
    if message is None and isinstance(errors, (list, dict)):
        items = errors if isinstance(errors, list) else list(errors.values())
        return next((item for item in items if is_set(item)), None)
    return None


def _is_meaningful(value: Any) -> bool:
    return bool(value) and not (isinstance(value, str) and value.strip() in _MEANINGLESS_MESSAGES)


def _message(error: ErrorFields) -> str:
    value = next((error[key] for key in _MESSAGE_KEYS if _is_meaningful(error.get(key))), None)
    if value is not None:
        return to_text(value)
    for found in (_first_message(error), _cause_message(error), _first_line(error.get("stack"))):
        if found:
            return found
    return next((error[key] for key in _MESSAGE_KEYS if isinstance(error.get(key), str) and error[key]), to_text(error))


def _first_message(error: ErrorFields) -> str | None:
    messages = error.get("messages")
    if not isinstance(messages, list):
        return None
    return next((to_text(item) for item in messages if _is_meaningful(item)), None)


def _cause_message(error: ErrorFields) -> str | None:
    cause = _cause(error.get("cause"))
    return cause["message"] if cause else None


def _first_line(stack: Any) -> str | None:
    if not isinstance(stack, str) or not stack.strip():
        return None
    return stack.strip().splitlines()[0].strip()


def _code(error: ErrorFields) -> str | None:
    for key in _CODE_KEYS:
        value = error.get(key)
        if value is None or isinstance(value, bool) or (isinstance(value, (str, list, dict)) and not value):
            continue
        if key != "code" and (
            not isinstance(value, (str, int, float)) or str(value).strip().lower() in _MEANINGLESS_CODES
        ):
            continue
        return to_text(value)
    return None


def _description(error: ErrorFields, message: str) -> str | None:
    """Return a text of the error that differs from `message`, or None. The message can be the same for many errors."""
    value = error.get("description")
    for text in (to_text(value) if _is_meaningful(value) else None, _first_message(error)):
        if text and text != message:
            return text
    return None


def _cause(cause: Any) -> ErrorFields | None:
    if isinstance(cause, list):
        cause = next((item for item in cause if is_set(item)), None)
    if isinstance(cause, str):
        return {"message": cause} if cause.strip() else None
    if not isinstance(cause, dict) or not cause:
        return None
    texts = (cause.get(key) for key in (*_MESSAGE_KEYS, "name"))
    code = _code(cause)
    message = next((text for text in texts if isinstance(text, str) and _is_meaningful(text)), None)
    message = message or _first_line(cause.get("stack")) or code or to_text(cause)
    return {"message": message, **({"code": code} if code else {})}
