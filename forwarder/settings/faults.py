"""The sentences about the faults that pydantic finds in the settings. They never hold a value."""

from collections.abc import Mapping

from pydantic_core import ErrorDetails

from forwarder.settings import pasted, suggestions
from forwarder.settings.models import variable
from forwarder.settings.sections import SECTIONS

_NO_BOOLEAN = "is neither true nor false"
_NO_SECTION = "is not a section: write it once, as [section] in single brackets"

_WRONG_TYPES = {
    "string_pattern_mismatch": "has an invalid form",
    "string_type": 'is not a text: put it in quotation marks, "…"',
    "tuple_type": 'is not a list: write ["…"], also for one item',
    "bool_parsing": _NO_BOOLEAN,
    "bool_type": _NO_BOOLEAN,
    "model_type": _NO_SECTION,
    "model_attributes_type": _NO_SECTION,
}
"""The end of a sentence for each of these types of pydantic's faults. It is clearer than pydantic's own message."""


def describe_fault(details: ErrorDetails, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the dotted name of the setting at fault, and a sentence about the fault without the value."""
    path = [str(part) for part in details["loc"] if not str(part).startswith(("function-", "literal["))]
    key = ".".join(path[:2])
    section = dict(SECTIONS).get(key)
    if section and details["type"] == "value_error":  # of a whole section, and its first word is the field
        name, _, rest = details["msg"].removeprefix("Value error, ").partition(" ")
        if name in section.model_fields:
            key, details = f"{key}.{name}", {**details, "msg": rest}
    return key, _describe(details, key, f"{key} (from {variable(key)})" if variable(key) in environ else key, environ)


def _describe(details: ErrorDetails, key: str, label: str, environ: Mapping[str, str]) -> str:
    match details["type"]:
        case "missing" | "extra_forbidden" if key in dict(SECTIONS):
            return f"[{key}] is missing: set {key}.event_bus and {key}.region"
        case "missing":
            candidate = suggestions.find_misspelled(key, environ)
            suggestion = f"; {candidate} is not its name" if candidate else ""
            return f"{key} is missing: set it in the file or as {variable(key)}{suggestion}"
        case "extra_forbidden":
            return f"{key} is not a setting: {suggestions.suggest(key)}"
        case _ if label != key and not pasted.trim(environ[variable(key)]):
            return f"{label} is empty: unset it, or give it a value"
        case _:
            return f"{label}{_wrong(details)}"


def _wrong(details: ErrorDetails) -> str:
    """Return the end of the sentence about an invalid value, with the space or the colon before it."""
    if details["type"] == "value_error":
        return f" {details['msg'].removeprefix('Value error, ')}".rstrip()
    known = _WRONG_TYPES.get(details["type"])
    return f" {known}" if known else f": {details['msg'][:1].lower()}{details['msg'][1:]}"
