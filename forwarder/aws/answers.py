"""The meaning of what PutEvents answers: one table, for entries and for whole requests, whichever client was asked.

Only the types of this module settle entries, and only a response to PutEvents makes them: an outcome for each entry, or
RequestRefused for all of a request. Every error before the request is a DestinationError (`request_errors.py`), which
settles nothing.

Sources: the PutEvents API reference and "Handling failures with PutEvents" (Amazon EventBridge), and what botocore,
aiobotocore and aiohttp make of broken answers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from forwarder.aws.connection_errors import is_of_a_response, was_never_sent, words
from forwarder.aws.request_errors import (
    CHECK_BUS,
    CHECK_KEYS,
    CLOCK,
    KEYS,
    MAY_NOT,
    MISSING,
    PUT_EVENTS,
    THROTTLED,
    TRANSIENT,
    Refusal,
    before_request,
    credentials_error,
    request_error,
)
from forwarder.errors import BusMissing, DestinationError, DestinationRefused, EventsRefused
from forwarder.model import Accepted, Outcome, Rejected, Retry, Unknown
from forwarder.redaction import foreign

__all__ = [
    "CHECK_KEYS",
    "CODES",
    "MAY_NOT",
    "RequestRefused",
    "entry_outcome",
    "is_understood",
    "put_events_error",
    "refusal_of_all",
    "request_error",
]

MALFORMED = frozenset({"MalformedDetail", "InvalidArgument", "RedactionFailure"})
"""Of an entry: it will never be accepted."""

REFUSED = frozenset(
    {
        "AccessDeniedException",
        "InvalidAccountIdException",
        "NotAuthorizedForSourceException",
        "NotAuthorizedForDetailTypeException",
    }
)
"""Of an entry, and sure to be of every other one too: somebody has to change a permission."""

_TOO_LARGE_OR_WRONG = frozenset({"413", "ValidationException", "SerializationException", "RequestEntityTooLarge"})
_OURS = frozenset(
    {
        "unreachable",
        "not-aws",
        "internal",
        "credentials",
        "certificates",
        "Unknown",
        "ParamValidation",
        "ResourceNotFoundException",
    }
)
CODES = TRANSIENT | MALFORMED | REFUSED | THROTTLED | _TOO_LARGE_OR_WRONG | CLOCK | KEYS | _OURS
"""All that have a row here: what the bus may answer beside them is without limit."""
_PLAIN_ID = re.compile(r"[0-9a-f]{1,12}(-[0-9a-f]{1,12}){4}")
"""Ids as EventBridge gives them: there is nothing in them to redact."""

_SHARED_PARAMETER = re.compile(r"\b(Source|DetailType|EventBusName)\b")
"""Parameters that come from the settings, and are the same in every entry."""

_ABOUT_SIZE_OR_DETAIL = re.compile(r"\b(total size|too large|size of|over the limit|detail)\b", re.IGNORECASE)
"""Words of a refusal that can be about one entry. Of the parameters of an entry, only Detail and Time differ."""


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A response to PutEvents that refuses the request as such: nothing of it was accepted.

    It is a value, not an error, so no error of a step before the request can be taken for it. `of_an_entry` is whether
    the refusal can be about a single entry: its size, or its detail. Any other reason may hold for all entries, such as
    one about the name of the bus.
    """

    code: str
    message: str
    of_an_entry: bool

    def of_every_entry(self) -> EventsRefused:
        """Return the reason for which delivery is paused while no entry is accepted."""
        hint = "lower max_entry_bytes and max_request_bytes" if self.of_an_entry else f"{CHECK_BUS}, and event.source"
        return EventsRefused(self.message, code=self.code, hint=hint)


def entry_outcome(entry: Mapping[str, Any]) -> Outcome:
    """Return the outcome of one entry of an understood answer."""
    if not entry.get("ErrorCode"):
        event_id = entry["EventId"]
        return Accepted(event_id if _PLAIN_ID.fullmatch(event_id) else foreign(event_id))
    code, reason = foreign(entry["ErrorCode"]), foreign(entry.get("ErrorMessage") or "")
    if _is_of_every_entry(entry):
        return Retry(code, reason)
    if code in MALFORMED:
        return Rejected(code, reason)
    return Retry(code, reason, strike=code not in TRANSIENT)


def _is_of_every_entry(entry: Mapping[str, Any]) -> bool:
    code, reason = entry.get("ErrorCode"), str(entry.get("ErrorMessage") or "")
    return code in REFUSED or (code == "InvalidArgument" and _SHARED_PARAMETER.search(reason) is not None)


def is_understood(answer: Mapping[str, Any], sent: int) -> bool:
    """Return whether an answer has one result for each entry, and contradicts itself nowhere.

    HTML, an empty body and one that was cut short all come back from the SDK as an answer without entries.
    """
    entries = answer.get("Entries")
    return (
        isinstance(entries, list)
        and len(entries) == sent
        and all(isinstance(entry, dict) and _says_one_thing(entry) for entry in entries)
        and _shows_every_failure(entries, answer.get("FailedEntryCount"))
    )


def _shows_every_failure(entries: list[Mapping[str, Any]], failed: object) -> bool:
    """If more entries failed than results tell, one that looks accepted was not. An absent count means nothing."""
    return not isinstance(failed, int) or failed <= sum(bool(entry.get("ErrorCode")) for entry in entries)


def _says_one_thing(entry: Mapping[str, Any]) -> bool:
    event_id, code = entry.get("EventId"), entry.get("ErrorCode")
    says, is_silent = (event_id, code) if event_id else (code, event_id)
    return isinstance(says, str) and bool(says) and is_silent in (None, "")


def refusal_of_all(entries: list[Mapping[str, Any]]) -> DestinationError | None:
    """Return the refusal of an entry that holds for every other one, if there is one."""
    for entry in entries:
        if not _is_of_every_entry(entry):
            continue
        code, reason = foreign(entry["ErrorCode"]), foreign(entry.get("ErrorMessage") or "no reason given")
        message = f"the bus refuses the event: {code}: {reason}"
        if code in REFUSED:
            hint = "allow events:PutEvents on the bus for this source and detail type"
            return DestinationRefused(message, code=code, hint=hint)
        return EventsRefused(message, code=code, hint="correct event.source, event.detail_type or event_bus")
    return None


def put_events_error(error: Exception, address: str = "") -> DestinationError | RequestRefused | Unknown:
    """Return the meaning of a PutEvents request to this address that failed as a whole.

    DestinationError: nothing was accepted, and nothing is settled. Unknown: the bus may have accepted it.
    """
    if isinstance(error, DestinationError):
        return error
    if isinstance(error, ClientError):
        refusal = Refusal.of(error)
        # The SDK's client may renew its keys within the call: then another service answered.
        return _refused_request(refusal) if refusal.operation == PUT_EVENTS else credentials_error(error)
    if was_never_sent(error) or (isinstance(error, BotoCoreError) and not is_of_a_response(error)):
        return before_request(error, "the request cannot be made", address)
    return Unknown("no whole answer in time" if isinstance(error, TimeoutError) else words(error))


def _refused_request(refusal: Refusal) -> DestinationError | RequestRefused | Unknown:
    if refusal.code == MISSING:
        hint = "create it, or correct event_bus and region"
        return BusMissing(f"the bus does not exist: {refusal.text}", code=MISSING, hint=hint)
    if meaning := refusal.common():
        return meaning
    if refusal.is_failure:
        return Unknown(f"status {refusal.status} from something that is not the bus")
    if refusal.is_from_aws or refusal.code == "413":
        is_size = refusal.code in ("413", "RequestEntityTooLarge", "SerializationException")
        of_an_entry = is_size or _ABOUT_SIZE_OR_DETAIL.search(refusal.message) is not None
        return RequestRefused(refusal.code, f"the bus refuses the request: {refusal.text}", of_an_entry)
    return refusal.not_aws()
