"""Each error that DynamoDB documents is an outage that may end, unless only a person can end it."""

import botocore.session
import pytest
from botocore.exceptions import ClientError, EndpointProviderError

from forwarder.errors import LedgerDenied, LedgerUnavailable
from forwarder.ledger.dynamodb.create import create_table
from forwarder.ledger.dynamodb.table_errors import is_transient, table_error
from forwarder.settings.validators.ledger_url import TableLocation
from tests.aws.dynamodb_server import table_that_accepts
from tests.harness.dynalite import table_client

OPERATIONS = ("GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan")
CONTROL_OPERATIONS = ("CreateTable", "DescribeTable", "DescribeTimeToLive", "UpdateTimeToLive")

FOREIGN_KEYS = "ItemCollectionSizeLimitExceededException"
"""It is possible only in a table with a local secondary index, which is not ours."""

CONDITION = "ConditionalCheckFailedException"

LOCATION = TableLocation("ledger", "eu-west-1")


def documented(operations: tuple[str, ...]) -> set[str]:
    """Return the codes that the SDK's model lists for these operations."""
    model = botocore.session.get_session().get_service_model("dynamodb")
    return {
        shape.metadata.get("error", {}).get("code", shape.name)
        for operation in operations
        for shape in model.operation_model(operation).error_shapes
    }


def refusal(code: str, status: int = 400, message: str = "why") -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutItem")


@pytest.mark.parametrize("code", sorted(documented(OPERATIONS + CONTROL_OPERATIONS) - {FOREIGN_KEYS, CONDITION}))
def test_documented_error_is_an_outage(code: str) -> None:
    assert isinstance(table_error(refusal(code), LOCATION), LedgerUnavailable)


@pytest.mark.parametrize(
    "code", sorted(documented(OPERATIONS) - {FOREIGN_KEYS, CONDITION, "ResourceNotFoundException"})
)
def test_error_of_a_moment_is_retried(code: str) -> None:
    assert is_transient(refusal(code))


@pytest.mark.parametrize("status", [302, 400, 403, 404, 407, 413, 429, 502])
def test_response_without_a_code_names_an_intermediary(status: int) -> None:
    """The SDK uses the status as the code of a page of HTML."""
    error = table_error(refusal(str(status), status), LOCATION)
    assert isinstance(error, LedgerUnavailable)
    assert "an intermediary" in error.hint


def test_status_429_without_a_code_is_retried() -> None:
    assert is_transient(refusal("429", 429))


@pytest.mark.parametrize("message", ["KMS key access denied error: The ciphertext refers to a key that does not exist"])
def test_inaccessible_key_is_named(message: str) -> None:
    error = table_error(refusal("AccessDeniedException", message=message), LOCATION)
    assert isinstance(error, LedgerUnavailable)
    assert "LedgerKeyArn" in error.hint


@pytest.mark.parametrize(
    ("code", "message", "status", "hint"),
    [
        ("ValidationException", "The provided key element does not match the schema", 400, "`p` and `s`"),
        ("ValidationException", "Query condition missed key schema element: p", 400, "`p` and `s`"),
        ("ValidationException", "Item size to update has exceeded the maximum allowed size", 400, "report this"),
        ("ValidationException", "Invalid UpdateExpression: Syntax error", 400, "compare the table"),
        (FOREIGN_KEYS, "why", 400, "compare the table"),
        ("UnknownOperationException", "", 400, "check endpoint_url"),
    ],
)
def test_final_refusal_has_a_hint_that_fits(code: str, message: str, status: int, hint: str) -> None:
    error = table_error(refusal(code, status, message), LOCATION)
    assert not isinstance(error, LedgerUnavailable)
    assert hint in error.hint


@pytest.mark.parametrize(
    ("code", "message", "status", "hint"),
    [
        ("ValidationException", "Time to live has been modified multiple times within a fixed interval", 400, "later"),
        ("ValidationException", "TimeToLive is already enabled", 400, "later"),
        ("LimitExceededException", "Subscriber limit exceeded: Only 500 tables", 400, "quota of tables"),
        ("SubscriptionRequiredException", "The AWS Access Key Id needs a subscription", 400, "account is active"),
        ("OptInRequired", "The AWS Access Key Id needs a subscription", 403, "account is active"),
        ("AccountProblem", "There is a problem with your AWS account", 403, "account is active"),
        ("AccountProblem", "There is a problem with your AWS account", 401, "account is active"),
        ("AccessDeniedException", "User is not authorized to perform", 400, "identity.yaml"),
        ("ThrottlingException", "Throughput exceeds the current capacity", 400, "adapts within minutes"),
    ],
)
def test_refusal_that_may_end_has_a_hint_that_fits(code: str, message: str, status: int, hint: str) -> None:
    error = table_error(refusal(code, status, message), LOCATION)
    assert isinstance(error, LedgerUnavailable)
    assert hint in error.hint


def test_setting_of_the_sdk_is_named() -> None:
    reason = "AccountIdEndpointMode is required but no AccountID was provided or able to be loaded"
    error = table_error(EndpointProviderError(msg=reason), LOCATION)
    assert isinstance(error, LedgerUnavailable)
    assert reason in error.message
    assert "event_bus" not in error.hint
    assert "AWS_" in error.hint


async def test_denied_creation_names_the_rights_of_a_creation() -> None:
    """The policy that a forwarder needs allows none of them."""
    async with table_that_accepts([], "AccessDeniedException") as url:
        with pytest.raises(LedgerDenied) as raised:
            await create_table(TableLocation("ledger", "eu-west-1", url), lambda: table_client(url))
    assert all(f"dynamodb:{operation}" in raised.value.hint for operation in CONTROL_OPERATIONS)
    assert "identity.yaml" not in raised.value.hint
