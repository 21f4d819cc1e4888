"""The creation of a table for a ledger, for a trial. `infra/` has the template for production."""

import asyncio
from typing import Any

from botocore.exceptions import ClientError

from forwarder.aws.request_errors import RESOURCE_NOT_FOUND, ErrorResponse
from forwarder.errors import LedgerDenied, LedgerError, LedgerUnavailable
from forwarder.ledger.dynamodb.schema import EXPIRY_ATTRIBUTE, table_definition
from forwarder.ledger.dynamodb.table import Connect
from forwarder.ledger.dynamodb.table_errors import UNKNOWN_OPERATION_CODES, table_error
from forwarder.redaction import sanitize
from forwarder.settings.validators.ledger_url import TableLocation

MAX_CREATION_SECONDS = 120.0
STATUS_INTERVAL_SECONDS = 0.5

RIGHTS_HINT = (
    "allow dynamodb:CreateTable, dynamodb:DescribeTable, dynamodb:DescribeTimeToLive and dynamodb:UpdateTimeToLive,"
    " or create the table with infra/ledger-table.yaml"
)
"""The hint for a denial. `infra/identity.yaml`, which a forwarder needs, allows none of these."""

_EXISTS = "ResourceInUseException"


async def create_table(location: TableLocation, connect: Connect) -> bool:
    """Create a table on demand, with TTL, and wait until it can be used. Return False if it existed already.

    If the creation was interrupted, another call completes it. Raise LedgerError if the table has other keys or its TTL
    on another attribute, or if DynamoDB refuses.
    """
    try:
        async with connect() as client:
            is_new = await _create(client, location)
            _require_keys(await _wait_until_active(client, location), location)
            await _enable_ttl(client, location)
    except LedgerError:
        raise
    except Exception as error:  # noqa: BLE001  # table_error classifies every error of the SDK
        failure = table_error(error, location)
        if isinstance(failure, LedgerDenied):
            failure.hint = RIGHTS_HINT
        raise failure from None
    return is_new


async def _create(client: Any, location: TableLocation) -> bool:
    try:
        await client.create_table(**table_definition(location.table))
    except ClientError as error:
        if ErrorResponse.of(error).code != _EXISTS:
            raise
        return False
    return True


async def _wait_until_active(client: Any, location: TableLocation) -> Any:
    """Return the description of the table when it can be used."""
    for _ in range(int(MAX_CREATION_SECONDS / STATUS_INTERVAL_SECONDS)):
        table = await _describe(client, location)
        if table.get("TableStatus") == "ACTIVE":
            return table
        await asyncio.sleep(STATUS_INTERVAL_SECONDS)
    raise LedgerUnavailable(
        f"the table {location} was not ready within {MAX_CREATION_SECONDS:.0f} s", hint="run the command again"
    )


async def _describe(client: Any, location: TableLocation) -> Any:
    try:
        return (await client.describe_table(TableName=location.table))["Table"]
    except ClientError as error:  # DynamoDB may not know a new table for a moment
        if ErrorResponse.of(error).code != RESOURCE_NOT_FOUND:
            raise
        return {}


def _require_keys(table: Any, location: TableLocation) -> None:
    if table["KeySchema"] != table_definition(location.table)["KeySchema"]:
        raise LedgerError(f"the table {location} exists and has other keys", hint="name another table in ledger.url")


def _require_expiry_attribute(ttl: Any, location: TableLocation) -> None:
    """Raise LedgerError if the table expires by another attribute: its items would be kept for ever."""
    if (attribute := ttl.get("AttributeName")) != EXPIRY_ATTRIBUTE:
        raise LedgerError(
            f"the table {location} has its TTL on the attribute {sanitize(attribute)}, not on {EXPIRY_ATTRIBUTE}",
            hint="name another table in ledger.url, or disable this TTL and run the command again an hour later",
        )


async def _enable_ttl(client: Any, location: TableLocation) -> None:
    try:
        found = (await client.describe_time_to_live(TableName=location.table))["TimeToLiveDescription"]
        if found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
            _require_expiry_attribute(found, location)
            return
        await client.update_time_to_live(
            TableName=location.table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRY_ATTRIBUTE},
        )
    except ClientError as error:
        # Engines such as dynalite have no TTL. Expired items are then kept, and treated as deleted.
        if ErrorResponse.of(error).code not in UNKNOWN_OPERATION_CODES:
            raise
