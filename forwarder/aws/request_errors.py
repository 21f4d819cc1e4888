"""The classification of failed AWS calls other than PutEvents. Delivery is paused, and nothing is settled.

Sources: "Common errors" of the EventBridge API reference, and the errors that botocore, aiobotocore and aiohttp raise.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from forwarder.aws.connection_errors import (
    describe_error,
    empty_bundle_error,
    is_never_sent,
    is_response_error,
    unreachable_error,
)
from forwarder.errors import (
    BusMissing,
    BusUnverified,
    DescribeDenied,
    DestinationError,
    DestinationRefused,
    DestinationUnavailable,
)
from forwarder.model import Unknown
from forwarder.redaction import sanitize

THROTTLING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
"""The throttling codes of AWS services. botocore's retry mode "standard" has the same list."""

TRANSIENT_CODES = THROTTLING_CODES | {
    "InternalError",
    "InternalException",
    "InternalFailure",
    "InternalServerError",
    "InternalServerException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
}
"""Codes of an entry or a request that can be accepted later."""

ACCESS_DENIED_CODES = ("AccessDenied", "AccessDeniedException")
"""Codes of a request that the policy of its valid keys does not allow."""

RESOURCE_NOT_FOUND = "ResourceNotFoundException"
PUT_EVENTS = "PutEvents"
DESCRIBE = "DescribeEventBus"

SIGNATURE_CODES = frozenset(
    {"RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException"}
)
CREDENTIAL_CODES = frozenset(
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

CHECK_KEYS = "check the AWS keys and what their policy allows: `forwarder check`"
CHECK_BUS = "correct event_bus and region"
ALLOW_DESCRIBE = "allow events:DescribeEventBus on the bus"
NOT_AWS_HINT = "an intermediary responds in place of AWS: check endpoint_url and proxies"
VERIFY_OFF = "if the bus may not be described, set destination.verify = false"


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error response of AWS, or of a proxy or server in its place. `code` and `message` are redacted."""

    operation: str
    status: int
    code: str
    message: str

    @classmethod
    def of(cls, error: ClientError) -> Self:
        """Return the response of an error of the SDK."""
        document = error.response.get("Error", {})
        metadata = error.response.get("ResponseMetadata", {})
        code = str(document.get("Code") or "")
        if _has_no_code(code):
            # Some gateways of AWS return the code only in this header: `Code:http://…/`.
            header = str((metadata.get("HTTPHeaders") or {}).get("x-amzn-errortype") or "")
            code = header.partition(":")[0].rpartition("#")[2].strip() or code
        status = int(metadata.get("HTTPStatusCode") or 0)
        # An error message of AWS can quote the refused request with its tokens.
        return cls(error.operation_name, status, sanitize(code), sanitize(document.get("Message") or ""))

    @property
    def text(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code

    @property
    def is_from_aws(self) -> bool:
        """Return whether the response has an error code. Without one, botocore uses the status as the code."""
        return not _has_no_code(self.code)

    @property
    def is_server_error(self) -> bool:
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def sender(self) -> str:
        return "the bus" if self.operation in (PUT_EVENTS, DESCRIBE) else f"AWS ({self.operation})"

    def common_error(self) -> DestinationError | None:
        """Return the error for a refusal that every operation can have, or None if it is specific to this operation."""
        if self.code in THROTTLING_CODES or self.status == HTTPStatus.TOO_MANY_REQUESTS:
            return DestinationUnavailable(f"{self.sender} throttles: {self.text}", code="ThrottlingException")
        if self.code in SIGNATURE_CODES:
            message = f"{self.sender} refuses the signature of the request: {self.text}"
            hint = "check this machine's clock, then the AWS keys: `forwarder check`"
            return DestinationRefused(message, code=self.code, hint=hint)
        if self.code in ACCESS_DENIED_CODES and self.operation == DESCRIBE:
            return DescribeDenied(f"DescribeEventBus is denied: {self.text}", code=self.code, hint=ALLOW_DESCRIBE)
        is_forbidden = self.is_from_aws and self.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        if self.code in CREDENTIAL_CODES or is_forbidden:
            return DestinationRefused(f"{self.sender} refuses the keys: {self.text}", code=self.code, hint=CHECK_KEYS)
        if self.is_server_error and (self.is_from_aws or self.status == HTTPStatus.SERVICE_UNAVAILABLE):
            code = self.code if self.code in TRANSIENT_CODES else "InternalFailure"
            return DestinationUnavailable(f"{self.sender} fails: {self.text}", code=code)
        return None

    def not_aws_error(self) -> DestinationUnavailable:
        """Return the error for a response that an intermediary made."""
        message = f"status {self.status} from something that is not AWS"
        return DestinationUnavailable(message, code="not-aws", hint=NOT_AWS_HINT)


def _has_no_code(code: str) -> bool:
    return code.isdigit() or code in ("", "Unknown")


def request_error(error: Exception, address: str = "") -> DestinationError | Unknown:
    """Return the error for a failed call other than PutEvents, or Unknown if the call may have arrived.

    `address` is the URL of the call, for errors that do not contain the URL.
    """
    if known := error if isinstance(error, DestinationError) else empty_bundle_error(error):
        return known
    if isinstance(error, ClientError):
        return _error_of_response(ErrorResponse.of(error))
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)):
        name = type(error).__name__
        return DestinationRefused(f"there are no usable AWS keys: {name}", code=name, hint=CHECK_KEYS)
    if isinstance(error, ParamValidationError):
        return BusUnverified(
            "the settings make a request that cannot be sent", code="ParamValidation", hint=f"{CHECK_BUS}, role_arn"
        )
    if is_never_sent(error):
        return unreachable_error(error, address)
    return Unknown("no complete response in time" if isinstance(error, TimeoutError) else describe_error(error))


def error_before_request(error: Exception, step: str, address: str) -> DestinationError:
    """Return the error for a step before PutEvents that failed. The error pauses delivery. `step` names the step."""
    failure = request_error(error, address)
    if isinstance(failure, DestinationError):
        return failure
    if isinstance(error, BotoCoreError) and not is_response_error(error):
        return BusUnverified(
            f"{step}: {sanitize(error)}", code=type(error).__name__, hint=f"{CHECK_BUS}, and endpoint_url"
        )
    hint = "check endpoint_url, the network and HTTPS_PROXY: the server there may not be AWS"
    return DestinationUnavailable(f"{step}: {failure.reason}", code="unreachable", hint=hint)


def credentials_error(error: Exception) -> DestinationError:
    """Return the error for keys that cannot be loaded. Each provider of the chain raises different errors."""
    if isinstance(error, ClientError) and (refusal := ErrorResponse.of(error)).operation in (PUT_EVENTS, DESCRIBE):
        return _error_of_response(refusal)
    failure = request_error(error)
    if isinstance(failure, DestinationError) and not isinstance(failure, BusUnverified):
        return failure
    reason = failure.reason if isinstance(failure, Unknown) else type(error).__name__
    return DestinationRefused(f"the AWS keys cannot be loaded: {reason}", code="credentials", hint=CHECK_KEYS)


def _error_of_response(refusal: ErrorResponse) -> DestinationError:
    if failure := refusal.common_error():
        return failure
    if not refusal.is_from_aws:
        return refusal.not_aws_error()
    if refusal.operation != DESCRIBE:
        # An error of another service, such as a ResourceNotFoundException of STS, concerns the keys.
        reason = f"the AWS keys cannot be loaded: {refusal.operation}: {refusal.text}"
        return DestinationRefused(reason, code="credentials", hint="check role_arn, external_id and the AWS keys")
    if refusal.code == RESOURCE_NOT_FOUND:
        return BusMissing(
            f"the bus does not exist: {refusal.text}",
            code=RESOURCE_NOT_FOUND,
            hint="create it, or correct event_bus and region",
        )
    reason = f"DescribeEventBus is refused, so nothing is sent: {refusal.text}"
    return BusUnverified(reason, code=refusal.code, hint=f"{CHECK_BUS}; {VERIFY_OFF}")


def region_of(event_bus: str) -> str:
    """Return the region in the ARN of a bus, or an empty string for a name."""
    parts = event_bus.split(":")
    return parts[3] if len(parts) > 5 and parts[0] == "arn" else ""  # noqa: PLR2004  # arn:aws:events:REGION:ACCOUNT:…
