"""The classification of PutEvents responses, for entries and for whole requests, with either client.

Only the types of this module settle entries: an outcome for each entry, or RequestRefusal for a whole request. They are
made only from a response to PutEvents. An error before the request is a DestinationError (`request_errors.py`), which
settles nothing.

Sources: the PutEvents API reference and "Handling failures with PutEvents" (Amazon EventBridge), and the behaviour of
botocore, aiobotocore and aiohttp for invalid responses.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from forwarder.aws.connection_errors import describe_error, is_never_sent, is_response_error
from forwarder.aws.request_errors import (
    CHECK_BUS,
    CREDENTIAL_CODES,
    PUT_EVENTS,
    RESOURCE_NOT_FOUND,
    SIGNATURE_CODES,
    THROTTLING_CODES,
    TRANSIENT_CODES,
    ErrorResponse,
    credentials_error,
    error_before_request,
)
from forwarder.errors import BusMissing, DestinationError, DestinationRefused, EventsRefused
from forwarder.model import Accepted, Outcome, Rejected, Retry, Unknown
from forwarder.redaction import sanitize

MALFORMED_CODES = frozenset({"MalformedDetail", "InvalidArgument", "RedactionFailure"})
"""Codes of an entry that will never be accepted."""

DENIED_CODES = frozenset(
    {
        "AccessDeniedException",
        "InvalidAccountIdException",
        "NotAuthorizedForSourceException",
        "NotAuthorizedForDetailTypeException",
    }
)
"""Codes of an entry that apply to every other entry too, until a permission is changed."""

_REQUEST_CODES = frozenset({"413", "ValidationException", "SerializationException", "RequestEntityTooLarge"})
_OWN_CODES = frozenset(
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
CODES = (
    TRANSIENT_CODES
    | MALFORMED_CODES
    | DENIED_CODES
    | THROTTLING_CODES
    | _REQUEST_CODES
    | SIGNATURE_CODES
    | CREDENTIAL_CODES
    | _OWN_CODES
)
"""All known codes. They limit the labels of metrics, since the bus can return any other code."""

_PLAIN_ID = re.compile(r"[0-9a-f]{1,12}(-[0-9a-f]{1,12}){4}")
"""The form of EventBridge's ids. An id of this form needs no redaction."""

_SHARED_PARAMETER = re.compile(r"\b(Source|DetailType|EventBusName)\b")
"""Parameters that come from the settings and are equal in every entry."""

_ABOUT_SIZE_OR_DETAIL = re.compile(r"\b(total size|too large|size of|over the limit|detail)\b", re.IGNORECASE)
"""Words of a refusal that can be about one entry. Only the parameters Detail and Time differ between entries."""


@dataclass(frozen=True, slots=True)
class RequestRefusal:
    """A response to PutEvents that refuses the whole request. No entry was accepted.

    It is a value and not an exception, so an error of an earlier step cannot be confused with it.
    `is_entry_specific` is true if the refusal can be about a single entry: its size or its detail. Other reasons, such
    as an invalid name of the bus, can apply to all entries.
    """

    code: str
    message: str
    is_entry_specific: bool

    def to_error(self) -> EventsRefused:
        """Return the error that pauses delivery while no entry is accepted."""
        hint = (
            "lower max_entry_bytes and max_request_bytes"
            if self.is_entry_specific
            else f"{CHECK_BUS}, and event.source"
        )
        return EventsRefused(self.message, code=self.code, hint=hint)


def entry_outcome(entry: Mapping[str, Any]) -> Outcome:
    """Return the outcome of one entry of a valid response."""
    if not entry.get("ErrorCode"):
        event_id = entry["EventId"]
        return Accepted(event_id if _PLAIN_ID.fullmatch(event_id) else sanitize(event_id))
    code, reason = sanitize(entry["ErrorCode"]), sanitize(entry.get("ErrorMessage") or "")
    if _is_common_refusal(entry):
        return Retry(code, reason)
    if code in MALFORMED_CODES:
        return Rejected(code, reason)
    return Retry(code, reason, unclassified_attempt=code not in TRANSIENT_CODES)


def _is_common_refusal(entry: Mapping[str, Any]) -> bool:
    code, reason = entry.get("ErrorCode"), str(entry.get("ErrorMessage") or "")
    return code in DENIED_CODES or (code == "InvalidArgument" and _SHARED_PARAMETER.search(reason) is not None)


def is_valid_response(response: Mapping[str, Any], sent: int) -> bool:
    """Return whether a response has one result for each entry and is consistent.

    The SDK returns a response without entries for HTML, an empty body and an incomplete body.
    """
    entries = response.get("Entries")
    return (
        isinstance(entries, list)
        and len(entries) == sent
        and all(isinstance(entry, dict) and _is_consistent(entry) for entry in entries)
        and _matches_failed_count(entries, response.get("FailedEntryCount"))
    )


def _matches_failed_count(entries: list[Mapping[str, Any]], failed_count: object) -> bool:
    """Return whether the results have at least as many failures as the count. An absent count is valid."""
    return not isinstance(failed_count, int) or failed_count <= sum(bool(entry.get("ErrorCode")) for entry in entries)


def _is_consistent(entry: Mapping[str, Any]) -> bool:
    event_id, code = entry.get("EventId"), entry.get("ErrorCode")
    value, other = (event_id, code) if event_id else (code, event_id)
    return isinstance(value, str) and bool(value) and other in (None, "")


def common_refusal(entries: list[Mapping[str, Any]]) -> DestinationError | None:
    """Return the error for a refusal of one entry that applies to every entry, or None."""
    for entry in entries:
        if not _is_common_refusal(entry):
            continue
        code, reason = sanitize(entry["ErrorCode"]), sanitize(entry.get("ErrorMessage") or "no reason given")
        message = f"the bus refuses the event: {code}: {reason}"
        if code in DENIED_CODES:
            hint = "allow events:PutEvents on the bus for this source and detail type"
            return DestinationRefused(message, code=code, hint=hint)
        return EventsRefused(message, code=code, hint="correct event.source, event.detail_type or event_bus")
    return None


def put_events_error(error: Exception, address: str = "") -> DestinationError | RequestRefusal | Unknown:
    """Return the classification of a failed PutEvents request to this address.

    DestinationError means that no event was accepted, for a reason that does not concern single events. RequestRefusal
    means that the bus refused this request. Unknown means that the bus may have accepted the request.
    """
    if isinstance(error, DestinationError):
        return error
    if isinstance(error, ClientError):
        refusal = ErrorResponse.of(error)
        # The SDK can renew its keys within the call, so the response can be from another service.
        return _put_events_refusal(refusal) if refusal.operation == PUT_EVENTS else credentials_error(error)
    if is_never_sent(error) or (isinstance(error, BotoCoreError) and not is_response_error(error)):
        return error_before_request(error, "the request cannot be made", address)
    return Unknown("no complete response in time" if isinstance(error, TimeoutError) else describe_error(error))


def _put_events_refusal(refusal: ErrorResponse) -> DestinationError | RequestRefusal | Unknown:
    if refusal.code == RESOURCE_NOT_FOUND:
        hint = "create it, or correct event_bus and region"
        return BusMissing(f"the bus does not exist: {refusal.text}", code=RESOURCE_NOT_FOUND, hint=hint)
    if failure := refusal.common_error():
        return failure
    if refusal.is_server_error:
        return Unknown(f"status {refusal.status} from something that is not the bus")
    if refusal.is_from_aws or refusal.code == "413":
        is_size = refusal.code in ("413", "RequestEntityTooLarge", "SerializationException")
        is_entry_specific = is_size or _ABOUT_SIZE_OR_DETAIL.search(refusal.message) is not None
        return RequestRefusal(refusal.code, f"the bus refuses the request: {refusal.text}", is_entry_specific)
    return refusal.not_aws_error()
