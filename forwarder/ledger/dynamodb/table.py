"""The requests to a DynamoDB table, with retries. A reply that was lost looks like one that never came.

Each write is safe to repeat: its condition fails if it was already made, and the caller reads the item to find out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

from forwarder.backoff import Backoff
from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger.dynamodb.server_clock import ServerClock
from forwarder.ledger.dynamodb.table_errors import (
    is_condition_failure,
    is_expired_key,
    is_transient,
    require_response,
    table_error,
)
from forwarder.ledger.dynamodb.values import EncodedItem, Item, Value, decode_all, encode, encode_all
from forwarder.settings.validators.ledger_url import TableLocation

Connect = Callable[[], AbstractAsyncContextManager[Any]]
"""Returns a client of the SDK for DynamoDB, which makes no retries of its own."""

MAX_ATTEMPTS = 4
"""The attempts of one request by default. Further retries are the caller's, which reports the outage first."""

MAX_CONCURRENT_REQUESTS = 60

RESERVED_PARTITION = "m"
"""The partition of heartbeats. Its requests have slots of their own: behind thousands of writes to a slow table, a
heartbeat would come too late, and others would take this process over. Kinesis clients lose leases in that way:
https://github.com/awslabs/amazon-kinesis-client/issues/677.
"""

RESERVED_REQUESTS = 4

MAX_BATCH_KEYS = 100
"""The limit of BatchGetItem: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html."""


class Key(NamedTuple):
    """The key of an item, without the prefix of its fleet."""

    p: str
    s: str


@dataclass(slots=True)
class ConsumedCapacity:
    """The units that this process has used, as DynamoDB reported them."""

    read: float = 0.0
    write: float = 0.0


class Table:
    """A table. All methods raise LedgerUnavailable while it cannot be used, and LedgerError if it never can."""

    def __init__(self, location: TableLocation, connect: Connect) -> None:
        self.location = location
        self.consumed = ConsumedCapacity()
        self.clock = ServerClock()
        self.max_attempts = MAX_ATTEMPTS
        self._connect = connect
        self._exit_stack = AsyncExitStack()
        self._connect_lock = asyncio.Lock()
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
        self._reserved_slots = asyncio.Semaphore(RESERVED_REQUESTS)
        self._client: Any = None
        self._is_closed = False
        self.failure: LedgerError | None = None
        """The error of the last request, or None if it had a valid response."""
        self._prefix = f"{location.prefix}/" if location.prefix else ""

    async def close(self) -> None:
        """Close the client. Later requests raise LedgerUnavailable: a task that was left over must not open another."""
        self._is_closed = True
        await self._exit_stack.aclose()
        self._client = None

    async def get(self, key: Key) -> dict[str, Any] | None:
        """Return an item as it is now, or None if it does not exist."""
        response = await self._request("get_item", key.p, Key=self._encode_key(key), ConsistentRead=True)
        return decode_all(response["Item"]) if "Item" in response else None

    async def get_many(self, keys: Iterable[Key], *, consistent: bool = True) -> dict[Key, dict[str, Any]]:
        """Return the items with these keys that exist, by key."""
        waiting = list(dict.fromkeys(keys))
        chunks = [waiting[start : start + MAX_BATCH_KEYS] for start in range(0, len(waiting), MAX_BATCH_KEYS)]
        found: dict[Key, dict[str, Any]] = {}
        for part in await asyncio.gather(*(self._get_batch(chunk, consistent=consistent) for chunk in chunks)):
            found |= part
        return found

    async def put(self, key: Key, attributes: Item, *, condition: str = "", **values: Value) -> bool:
        """Write a whole item. Return False if the condition failed. `values` are the values of the condition."""
        item = self._encode_key(key) | encode_all(attributes)
        try:
            await self._request("put_item", key.p, Item=item, **_condition(condition, values))
        except _ConditionFailed:
            return False
        return True

    async def update(self, key: Key, expression: str, *, condition: str = "", **values: Value) -> dict[str, Any] | None:
        """Change attributes of an item, which need not exist. Return the new item, or None if the condition failed."""
        try:
            response = await self._request(
                "update_item",
                key.p,
                Key=self._encode_key(key),
                UpdateExpression=expression,
                ReturnValues="ALL_NEW",
                **_condition(condition, values),
            )
        except _ConditionFailed:
            return None
        return decode_all(response["Attributes"])

    async def delete(self, key: Key) -> None:
        await self._request("delete_item", key.p, Key=self._encode_key(key))

    async def query(
        self, partition: str, *, start: str = "", end: str = "~", consistent: bool = True
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the items of a partition whose sort keys are in a range, both ends included, in the order of the keys.

        `s` is in each item.
        """
        request: dict[str, Any] = {
            "KeyConditionExpression": "p = :p AND s BETWEEN :start AND :end",
            "ExpressionAttributeValues": encode_all(
                {":p": self._prefix + partition, ":start": start or " ", ":end": end}
            ),
            "ConsistentRead": consistent,
        }  # fmt: skip
        while True:
            response = await self._request("query", partition, **request)
            for item in response["Items"]:
                yield decode_all(item)
            if "LastEvaluatedKey" not in response:
                return
            request["ExclusiveStartKey"] = response["LastEvaluatedKey"]

    async def scan(self, *attributes: str) -> AsyncIterator[tuple[Key, dict[str, Any]]]:
        """Yield all items of this fleet with their keys, in no order. They have all attributes, or only those named."""
        request: dict[str, Any] = {"ConsistentRead": True}
        if attributes:
            request["ProjectionExpression"] = ", ".join(("p", "s", *attributes))
        while True:
            response = await self._request("scan", **request)
            for encoded in response["Items"]:
                item = decode_all(encoded)
                partition, sort = item.pop("p"), item.pop("s")
                if partition.startswith(self._prefix) and (self._prefix or "/" not in partition):
                    yield Key(partition.removeprefix(self._prefix), sort), item
            if "LastEvaluatedKey" not in response:
                return
            request["ExclusiveStartKey"] = response["LastEvaluatedKey"]

    async def _get_batch(self, keys: Sequence[Key], *, consistent: bool) -> dict[Key, dict[str, Any]]:
        name = self.location.table
        waiting: list[EncodedItem] = [self._encode_key(key) for key in keys]
        found: dict[Key, dict[str, Any]] = {}
        backoff = Backoff(base=0.05, cap=1)
        for _ in range(MAX_ATTEMPTS * len(keys)):
            response = await self._request(
                "batch_get_item",
                RequestItems={name: {"Keys": waiting, "ConsistentRead": consistent}},
                table_name=False,
            )
            for encoded in response["Responses"].get(name, []):
                item = decode_all(encoded)
                found[Key(item.pop("p").removeprefix(self._prefix), item.pop("s"))] = item
            # A part comes back if the items are large, or if the table is throttled.
            left = response.get("UnprocessedKeys", {}).get(name, {}).get("Keys", [])
            if not left:
                return found
            if len(left) == len(waiting):
                await asyncio.sleep(backoff.next())
            waiting = left
        reason = f"the table {self.location} did not return all requested items"
        raise LedgerUnavailable(reason, hint="it is throttled: wait")

    async def _request(self, operation: str, partition: str = "", *, table_name: bool = True, **request: Any) -> Any:
        slots = self._reserved_slots if partition == RESERVED_PARTITION else self._slots
        if table_name:
            request["TableName"] = self.location.table
        backoff = Backoff(base=0.05, cap=1)
        for attempt in range(1, self.max_attempts + 1):
            if self._is_closed:
                raise LedgerUnavailable(f"the table {self.location} is closed", hint="the process ends")
            try:
                async with slots:
                    client = await self._connected()
                    response = await getattr(client, operation)(ReturnConsumedCapacity="TOTAL", **request)
                require_response(response)
            except Exception as error:  # noqa: BLE001  # table_error classifies every error of the SDK
                if is_condition_failure(error):
                    self.failure = None
                    raise _ConditionFailed from None
                if is_expired_key(error) and attempt == 1:
                    continue
                if attempt == self.max_attempts or not is_transient(error):
                    self.failure = table_error(error, self.location)
                    raise self.failure from None
                await asyncio.sleep(backoff.next())
            else:
                self.failure = None
                self._count_capacity(operation, response)
                self.clock.observe(response)
                return response
        raise AssertionError("the last attempt returns or raises")

    async def _connected(self) -> Any:
        async with self._connect_lock:
            if self._client is None:
                self._client = await self._exit_stack.enter_async_context(self._connect())
            return self._client

    def _count_capacity(self, operation: str, response: Mapping[str, Any]) -> None:
        reported = response.get("ConsumedCapacity", [])
        units = sum(each.get("CapacityUnits", 0.0) for each in (reported if isinstance(reported, list) else [reported]))
        if operation in ("put_item", "update_item", "delete_item"):
            self.consumed.write += units
        else:
            self.consumed.read += units

    def _encode_key(self, key: Key) -> EncodedItem:
        return {"p": encode(self._prefix + key.p), "s": encode(key.s)}


class _ConditionFailed(LedgerError):
    """A write whose condition failed."""

    def __init__(self) -> None:
        super().__init__("the condition of a write failed")


def _condition(condition: str, values: Mapping[str, Value]) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if condition:
        request["ConditionExpression"] = condition
    if values:
        request["ExpressionAttributeValues"] = encode_all({f":{name}": value for name, value in values.items()})
    return request
