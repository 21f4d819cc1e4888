"""The rules of classic `PutEvents`, as pure functions: the refusals of whole requests and of entries.

They are from the `PutEvents` and `PutEventsRequestEntry` pages of the EventBridge API reference, the user guide's page
on entry sizes, and messages seen in public bug reports.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Entry: TypeAlias = dict[str, Any]

MAX_ENTRIES: Final = 10
MAX_REQUEST_BYTES: Final = 1_048_576  # since 2026-01-29; 262,144 before, and still in a few regions
TIME_BYTES: Final = 14
MAX_LEVELS: Final = 1000
INT64: Final = range(-(2**63), 2**63)
BUS_NAME: Final = re.compile(
    r"(?:arn:aws[\w-]*:events:[a-z]{2}-[a-z]+-[\w-]+:\d{12}:event-bus/)?[/.\-_A-Za-z0-9]{1,1600}", re.ASCII
)

MESSAGES: Final = {
    "AccessDeniedException": "User is not authorized to perform: events:PutEvents on this resource.",
    "InternalException": "Internal error.",
    "InternalFailure": "Internal failure.",
    "MalformedDetail": "Detail is malformed.",
    "NotAuthorizedForSourceException": "Not authorized for the source.",
    "ThrottlingException": "Rate exceeded",
}


@dataclass(frozen=True)
class Refusal:
    code: str
    message: str


def request_refusal(content: Any, *, max_request_bytes: int) -> Refusal | None:
    """Return the refusal of the whole request, or None."""
    entries = content.get("Entries") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(map(is_well_typed, entries)):
        return Refusal("SerializationException", "")
    if not 1 <= len(entries) <= MAX_ENTRIES:
        limit = "less than or equal to 10" if entries else "greater than or equal to 1"
        return validation_refusal("entries", f"Member must have length {limit}")
    for number, entry in enumerate(entries, start=1):
        if not BUS_NAME.fullmatch(entry.get("EventBusName", "default")):
            return validation_refusal(
                f"entries.{number}.member.eventBusName", "Member must satisfy its pattern and length"
            )
        if not 1 <= len(entry.get("TraceHeader", "-")) <= 500:
            return validation_refusal(
                f"entries.{number}.member.traceHeader", "Member must have length between 1 and 500"
            )
    if sum(map(entry_bytes, entries)) > max_request_bytes:
        return Refusal("ValidationException", "Total size of the entries in the request is over the limit.")
    return None


def entry_refusal(entry: Entry) -> Refusal | None:
    """Return the refusal of this entry alone, or None. The other entries of its request are accepted."""
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            return argument_refusal(name, f"{name} is a required argument.")
    if entry["Source"].startswith("aws."):
        return refusal_of_code("NotAuthorizedForSourceException")
    if len(entry["DetailType"]) > 128:
        return argument_refusal("DetailType", "DetailType is longer than 128 characters.")
    if any(len(resource) > 2048 for resource in entry.get("Resources", [])):
        return argument_refusal("Resources", "A resource is longer than 2048 characters.")
    return None if is_detail(entry["Detail"]) else refusal_of_code("MalformedDetail")


def entry_bytes(entry: Entry) -> int:
    """Return the size by AWS's formula, without envelope and bus name."""
    texts = [entry.get(name, "") for name in ("Source", "DetailType", "Detail")] + entry.get("Resources", [])
    time = TIME_BYTES if entry.get("Time") is not None else 0
    return time + sum(len(text.encode(errors="surrogatepass")) for text in texts)


def is_well_typed(entry: Any) -> bool:
    """Return whether the JSON types are those of the API's model, in which a time is a number of seconds."""
    texts = ("Source", "DetailType", "Detail", "EventBusName", "TraceHeader")
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(name, ""), str) for name in texts)
        and isinstance(entry.get("Time", 0), int | float)
        and isinstance(entry.get("Resources", []), list)
        and all(isinstance(resource, str) for resource in entry.get("Resources", []))
    )


def refusal_of_code(code: str) -> Refusal:
    return Refusal(code, MESSAGES.get(code, "Refused."))


def validation_refusal(member: str, constraint: str) -> Refusal:
    message = f"1 validation error detected: Value at '{member}' failed to satisfy constraint: {constraint}"
    return Refusal("ValidationException", message)


def argument_refusal(name: str, reason: str) -> Refusal:
    return Refusal("InvalidArgument", f"Parameter {name} is not valid. Reason: {reason}")


# The grammar of a detail. The levels are removed from the inside and counted, because Python's parser cannot parse
# such a depth.
_S: Final = r"[ \t\r\n]*"
_TEXT: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_VALUE: Final = r'(?:""|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)'
_PAIR: Final = rf'""{_S}:{_S}{_VALUE}'
_INNERMOST: Final = re.compile(
    rf"\[{_S}(?:{_VALUE}(?:{_S},{_S}{_VALUE})*+)?{_S}\]|\{{{_S}(?:{_PAIR}(?:{_S},{_S}{_PAIR})*+)?{_S}\}}"
)
_INTEGER: Final = re.compile(r"(?<![0-9.eE+-])-?[0-9]+(?![0-9.eE])")


def is_detail(detail: str) -> bool:
    """Return whether the text is a JSON object of at most 1000 levels with integers within int64.

    AWS does not document half surrogate pairs. They are refused, so that no code relies on them.
    """
    if not detail.lstrip(" \t\r\n").startswith("{") or re.search("[\ud800-\udfff]", detail):
        return False
    skeleton = _TEXT.sub('""', detail)
    if any(len(number) > 20 or int(number) not in INT64 for number in _INTEGER.findall(skeleton)):
        return False
    for _ in range(MAX_LEVELS):
        skeleton, peeled = _INNERMOST.subn("0", skeleton)
        if not peeled or skeleton.strip(" \t\r\n") == "0":
            return bool(peeled)
    return False
