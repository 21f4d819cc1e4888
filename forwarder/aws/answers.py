"""What an answer of PutEvents means: one table, for entries and for whole requests, whichever client was asked.

Sources: the PutEvents API reference and "Handling failures with PutEvents" (Amazon EventBridge), and what botocore,
aiobotocore and aiohttp make of broken answers.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
)

from forwarder.errors import (
    BusMissing,
    DestinationError,
    DestinationRefused,
    DestinationUnavailable,
    RequestRefused,
)
from forwarder.model import Accepted, Outcome, Rejected, Retry, Unknown
from forwarder.redaction import foreign

TRANSIENT = frozenset({"InternalFailure", "InternalException", "ThrottlingException"})
"""Of an entry, or of a request: it was not accepted, and will be."""

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

MAY_NOT = ("AccessDenied", "AccessDeniedException")
"""Of a request: the keys are well, and may not do this."""

_THROTTLED = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"})
_TOO_LARGE_OR_WRONG = frozenset({"413", "ValidationException", "SerializationException", "RequestEntityTooLarge"})
_CLOCK = frozenset({"RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"})
_KEYS = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "UnrecognizedClientException",
    }
)
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
CODES = TRANSIENT | MALFORMED | REFUSED | _THROTTLED | _TOO_LARGE_OR_WRONG | _CLOCK | _KEYS | _OURS
"""All that have a row here: what the bus may answer beside them is without limit."""
_PLAIN_ID = re.compile(r"[0-9a-f]{1,12}(-[0-9a-f]{1,12}){4}")
"""Ids as EventBridge gives them: there is nothing in them to redact."""

CHECK_KEYS = "check the AWS keys and what their policy allows: `forwarder check`"


def entry_outcome(entry: Mapping[str, Any]) -> Outcome:
    """Of one entry of an understood answer."""
    if not entry.get("ErrorCode"):
        event_id = entry["EventId"]
        return Accepted(event_id if _PLAIN_ID.fullmatch(event_id) else foreign(event_id))
    code, reason = foreign(entry["ErrorCode"]), foreign(entry.get("ErrorMessage") or "")
    if code in MALFORMED:
        return Rejected(code, reason)
    return Retry(code, reason, strike=code not in TRANSIENT | REFUSED)


def is_understood(answer: Mapping[str, Any], sent: int) -> bool:
    """An answer counts only when it speaks of each entry, and says one thing of it.

    HTML, an empty body and one that was cut short all come back from the SDK as an answer without entries.
    """
    entries = answer.get("Entries")
    return (
        isinstance(entries, list)
        and len(entries) == sent
        and all(isinstance(entry, dict) and _says_one_thing(entry) for entry in entries)
    )


def _says_one_thing(entry: Mapping[str, Any]) -> bool:
    event_id, code = entry.get("EventId"), entry.get("ErrorCode")
    says, is_silent = (event_id, code) if event_id else (code, event_id)
    return isinstance(says, str) and bool(says) and is_silent in (None, "")


def refusal_of_all(entries: list[Mapping[str, Any]]) -> DestinationRefused | None:
    """Where an entry was refused for a reason that holds for every other one."""
    for entry in entries:
        if (code := entry.get("ErrorCode")) in REFUSED:
            return DestinationRefused(
                f"the bus refuses the event: {code}: {foreign(entry.get('ErrorMessage') or 'no reason given')}",
                code=str(code),
                hint="allow events:PutEvents on the bus for this source and detail type",
            )
    return None


def request_error(error: Exception) -> DestinationError | Unknown:
    """Of a whole request that failed: why nothing was accepted, or Unknown where that cannot be said."""
    match error:
        case ClientError():
            return _client_error(error)
        case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
            return DestinationRefused(
                f"there are no usable AWS keys: {type(error).__name__}",
                code=type(error).__name__,
                hint=CHECK_KEYS,
            )
        case ParamValidationError():
            return RequestRefused("the request is not one that can be sent", code="ParamValidation", final=True)
        case _ if was_never_sent(error):
            hint = "check the region, endpoint_url and the network"
            return DestinationUnavailable(f"the bus cannot be reached: {_words(error)}", code="unreachable", hint=hint)
        case TimeoutError():
            return Unknown("no whole answer in time")
        case _:
            return Unknown(_words(error))


def was_never_sent(error: Exception) -> bool:
    """Whether the connection itself failed: no other error can tell.

    A connection that ends while, or before, an answer comes may have carried the whole request, even where writing to
    it is what failed. EndpointConnectionError is raised for both: only the error beneath says which it was.
    """
    if isinstance(error, EndpointConnectionError):
        error = error.kwargs.get("error")
    return isinstance(
        error,
        (
            # The SDK's, and then those of the HTTP client beneath it and beneath our own.
            *(ConnectTimeoutError, SSLError, ProxyConnectionError),
            *(aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError),
        ),
    )


def _client_error(error: ClientError) -> DestinationError | Unknown:  # noqa: PLR0911  # a table: one row, one return
    said = error.response.get("Error", {})
    # AWS quotes the request it refuses, tokens included.
    code, message = foreign(said.get("Code") or ""), foreign(said.get("Message") or "")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    told = f"{code}: {message}" if message else code
    # Where an answer is no error document, botocore gives the status for a code: then AWS itself did not speak.
    from_aws = not code.isdigit() and code not in ("", "Unknown")
    if code in _THROTTLED or status == HTTPStatus.TOO_MANY_REQUESTS:
        return DestinationUnavailable(f"the bus throttles: {told}", code="ThrottlingException")
    if code == "ResourceNotFoundException":
        return BusMissing(
            f"the bus does not exist: {told}", code=code, hint="create it, or correct event_bus and region"
        )
    if code in _CLOCK:
        hint = "check this machine's clock, then the AWS keys: `forwarder check`"
        return DestinationRefused(f"the bus refuses the signature: {told}", code=code, hint=hint)
    if code in _KEYS or (from_aws and status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)):
        return DestinationRefused(f"the bus refuses the keys: {told}", code=code, hint=CHECK_KEYS)
    if code in _TOO_LARGE_OR_WRONG:
        return RequestRefused(f"the bus refuses the request: {told}", code=code, final=True)
    is_failure = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if is_failure and not from_aws and status != HTTPStatus.SERVICE_UNAVAILABLE:
        return Unknown(f"status {status} from something that is not the bus")
    if is_failure:
        return DestinationUnavailable(f"the bus fails: {told}", code=code if code in TRANSIENT else "InternalFailure")
    if from_aws:
        return RequestRefused(f"the bus refuses the request: {told}", code=code, final=False)
    hint = "something between here and AWS answers in its place: check endpoint_url and proxies"
    return DestinationUnavailable(f"status {status} from something that is not the bus", code="not-aws", hint=hint)


def _words(error: Exception) -> str:
    """The kind of failure, and what is beneath it: messages of the SDK hold addresses, which may hold more."""
    beneath = error.kwargs.get("error") if isinstance(error, (HTTPClientError, BotoCoreError)) else None
    name = type(error).__name__
    return f"{name} ({type(beneath).__name__})" if beneath is not None else name
