"""The errors of DynamoDB, as errors of the ledger: each names the table, the reason and what corrects it.

Source: "Error handling with DynamoDB", https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from botocore.exceptions import ClientError

from forwarder.aws.request_errors import (
    ACCESS_DENIED_CODES,
    CREDENTIAL_CODES,
    RESOURCE_NOT_FOUND,
    SIGNATURE_CODES,
    THROTTLING_CODES,
    TRANSIENT_CODES,
    ErrorResponse,
    error_before_request,
)
from forwarder.errors import (
    BusUnverified,
    DestinationError,
    DestinationUnavailable,
    LedgerDenied,
    LedgerError,
    LedgerUnavailable,
)
from forwarder.settings.validators.ledger_url import TableLocation

CONDITION_FAILED = "ConditionalCheckFailedException"

CREATE_HINT = "create it with infra/ledger-table.yaml, or with `forwarder ledger create` for a trial"

CONFLICT_CODES = frozenset({"ReplicatedWriteConflictException", "TransactionConflictException"})
"""Codes of a write that conflicts with one of another region, or with a transaction. It was not executed.

botocore's model of DynamoDB lists both for PutItem, UpdateItem and DeleteItem.
"""

EXPIRED_KEY_CODES = CREDENTIAL_CODES.difference(ACCESS_DENIED_CODES)
"""Codes for keys that have ended. Another process may have renewed them in a file."""

VALIDATION = "ValidationException"

UNKNOWN_OPERATION_CODES = ("UnknownOperationException", "UnknownOperation")
"""The codes of a server that does not have an operation."""

_ABOUT_SCHEMA = re.compile(r"\b(key|schema)\b", re.IGNORECASE)

CHANGING_CODES = frozenset({"ResourceInUseException", "TableInUseException"})

NOT_AWS_HINT = "an intermediary responds in place of DynamoDB: check proxies, and endpoint_url in ledger.url"

SDK_HINT = "correct ledger.url, or what is set for the AWS SDK in variables AWS_… or its files"
"""The hint for a setting of the SDK with which no request can be made.

`AWS_ACCOUNT_ID_ENDPOINT_MODE=required` is one: https://docs.aws.amazon.com/sdkref/latest/guide/feature-account-endpoints.html.
"""

KEY_HINT = "enable the KMS key of the table, and give infra/identity.yaml its ARN as LedgerKeyArn"

LIMIT_HINT = "wait until other tables are created or changed, or raise the account's quota of tables"
"""The hint for LimitExceededException, which only operations that create or change tables return:
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html#API_CreateTable_Errors.
"""

ACCOUNT_CODES = frozenset({"OptInRequired", "SubscriptionRequiredException"})
"""Codes for an account that may not use DynamoDB. Many services of AWS have them."""

ACCOUNT_HINT = "check in the console of AWS that the account is active and may use DynamoDB in this region"

TTL_HINT = "DynamoDB changes the TTL of a table once an hour: run the command again later"
"""See https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTimeToLive.html."""

_REFUSALS = (
    ({RESOURCE_NOT_FOUND}, "does not exist", CREATE_HINT),
    ({"LimitExceededException"}, "cannot be created or changed", LIMIT_HINT),
    (THROTTLING_CODES, "is throttled", "DynamoDB throttles it: a table on demand adapts within minutes"),
    (TRANSIENT_CODES, "fails", "DynamoDB fails for now: wait"),
    (CONFLICT_CODES, "has a conflict", "another region or a transaction writes to the table: docs/fleet.md"),
    (CHANGING_CODES, "is being changed", "wait until its status is ACTIVE"),
    (set(ACCESS_DENIED_CODES), "denies access", "allow what infra/identity.yaml allows for the table of the ledger"),
    (ACCOUNT_CODES, "denies access", ACCOUNT_HINT),
    (
        SIGNATURE_CODES,
        "refuses the signature of the request",
        "check this machine's clock, then the AWS keys: `forwarder check`",
    ),
    (CREDENTIAL_CODES, "refuses the keys", "check or renew the AWS keys; `role_arn` is not used for the ledger"),
)
"""The codes of refusals that may end, what they mean, and the hint."""


def is_condition_failure(error: Exception) -> bool:
    return isinstance(error, ClientError) and ErrorResponse.of(error).code == CONDITION_FAILED


def is_transient(error: Exception) -> bool:
    """Return whether the same request may succeed in a moment."""
    if isinstance(error, ClientError):
        refusal = ErrorResponse.of(error)
        return refusal.code in TRANSIENT_CODES | CONFLICT_CODES or refusal.is_server_error or _is_throttled(refusal)
    return isinstance(_before_response(error), DestinationUnavailable)


def is_expired_key(error: Exception) -> bool:
    """Return whether AWS does not know the keys of a request any more. They are read again for the next one."""
    return isinstance(error, ClientError) and ErrorResponse.of(error).code in EXPIRED_KEY_CODES


def require_response(response: Mapping[str, Any]) -> None:
    """Raise DestinationUnavailable if a success is not from DynamoDB.

    The SDK returns a page of HTML, such as that of a proxy, as an empty success: an item would count as absent, and a
    write as made. DynamoDB returns the consumed capacity with each response, because each request asks for it:
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html. A throttled BatchGetItem may have
    consumed none, but has `Responses`.
    """
    if not response.get("ConsumedCapacity") and "Responses" not in response:
        raise DestinationUnavailable("the response cannot be decoded", code="not-aws", hint=NOT_AWS_HINT)


def table_error(error: Exception, location: TableLocation) -> LedgerError:
    """Return an error of the SDK as an error of the ledger: LedgerUnavailable if it may end."""
    where = f"the table {location}"
    if not isinstance(error, ClientError):
        failure = _before_response(error, "no request was made")
        hint = SDK_HINT if isinstance(failure, BusUnverified) else failure.hint
        return LedgerUnavailable(f"{where} cannot be used: {failure.message}", hint=hint)
    refusal = ErrorResponse.of(error)
    if (outage := _outage(refusal)) is not None:
        meaning, hint = outage
        is_denial = refusal.code in ACCESS_DENIED_CODES and not _is_about_key(refusal)
        return (LedgerDenied if is_denial else LedgerUnavailable)(f"{where} {meaning}", hint=hint)
    if refusal.code == VALIDATION and refusal.message.startswith(("Time to live ", "TimeToLive ")):
        return LedgerUnavailable(f"{where} cannot be changed: {refusal.text}", hint=TTL_HINT)
    return LedgerError(f"{where} refuses a request: {refusal.text}", hint=_final_hint(refusal))


def _outage(refusal: ErrorResponse) -> tuple[str, str] | None:
    """Return the meaning of a refusal that may end, and the hint, or None if the request is refused for good."""
    if _is_about_key(refusal):
        return f"cannot use its KMS key: {refusal.text}", KEY_HINT
    for codes, meaning, hint in _REFUSALS:
        if refusal.code in codes:
            return f"{meaning}: {refusal.text}", hint
    if not refusal.is_from_aws:
        return f"cannot be used: {refusal.not_aws_error().message}", NOT_AWS_HINT
    if refusal.is_server_error:
        return f"fails: {refusal.text}", "DynamoDB fails for now: wait"
    if refusal.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"denies access: {refusal.text}", ACCOUNT_HINT
    return None


def _final_hint(refusal: ErrorResponse) -> str:
    """Return the hint for a request that is refused for good."""
    if refusal.code in UNKNOWN_OPERATION_CODES:
        return "check endpoint_url in ledger.url: the server there may not be DynamoDB"
    if refusal.code == VALIDATION and refusal.message.startswith("Item size "):
        return "keep the table and report this: an item has at most 400 KB"
    if refusal.code == VALIDATION and _ABOUT_SCHEMA.search(refusal.message):
        return f"its keys must be the texts `p` and `s`: {CREATE_HINT}"
    return "compare the table with infra/ledger-table.yaml, and look the code up in the documentation of DynamoDB"


def _is_throttled(refusal: ErrorResponse) -> bool:
    return refusal.status == HTTPStatus.TOO_MANY_REQUESTS


def _is_about_key(refusal: ErrorResponse) -> bool:
    """Return whether the KMS key of the table is disabled, deleted or denied.

    DynamoDB responds with AccessDeniedException and a message such as "KMS key access denied error":
    https://github.com/cloudcomponents/cdk-constructs/issues/102.
    """
    return not refusal.is_server_error and refusal.message.startswith("KMS ")


def _before_response(error: Exception, step: str = "") -> DestinationError:
    return error if isinstance(error, DestinationError) else error_before_request(error, step, "")
