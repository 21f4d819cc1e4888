"""The state that all operations of a ledger in DynamoDB share, and its opening and closing."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from forwarder.errors import LedgerError
from forwarder.ledger.codec import from_micros, to_micros
from forwarder.ledger.dynamodb.executions import Executions, Retention
from forwarder.ledger.dynamodb.journal_items import expiry
from forwarder.ledger.dynamodb.journals import Journals
from forwarder.ledger.dynamodb.member import Member, OwnedEntry
from forwarder.ledger.dynamodb.schema import FORMAT, KEEP_FORMAT, LEDGER
from forwarder.ledger.dynamodb.table import Connect, Table
from forwarder.ledger.dynamodb.values import Value
from forwarder.ledger.traffic import TrafficCounts
from forwarder.settings.validators.ledger_url import TableLocation


class DynamoStore:
    """The base of the classes that implement the protocol, one for each use case.

    Entering a store with `async with` reads the ledger's item. It raises LedgerUnavailable if there is no such table.
    """

    def __init__(
        self, location: TableLocation, connect: Connect, retention: Retention, *, heartbeat_seconds: float = 5.0,
        host: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        """Prepare a store. `heartbeat_seconds` is the time between two calls of `beat`, which the caller makes."""
        self._table = Table(location, connect)
        self._retention = retention
        self._heartbeat_seconds = heartbeat_seconds
        self._host = host
        self._now = now
        self._journals = Journals(self._table)
        self._executions = Executions(self._table, retention)
        self._member: Member | None = None
        self._former_claims: dict[str, OwnedEntry] = {}
        """The claimed entries of a membership that ended: their settlements may still succeed."""
        self._ledger_item: Mapping[str, Any] = {}
        self._settlement_seq = self._inherited_unverified = 0
        self._traffic = TrafficCounts()

    async def __aenter__(self) -> Self:
        try:
            item = await self._load_ledger_item()
        except BaseException:
            await self._table.close()
            raise
        if (found := item.get("ledger_format", FORMAT)) != FORMAT:
            await self._table.close()
            raise LedgerError(
                f"the ledger {self._table.location} has format {found}, and this version reads {FORMAT}",
                hint="run the version of the forwarder that wrote it on all machines, or use another prefix",
            )
        if "copying" in item:
            await self._table.close()
            raise LedgerError(
                f"the copy into the table {self._table.location} is not complete",
                hint="run `forwarder ledger copy` again: it continues",
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._leave()
        finally:
            await self._table.close()

    async def _leave(self) -> None:
        """End this process's membership, if it has one."""

    async def _load_ledger_item(self) -> Mapping[str, Any]:
        self._ledger_item = await self._table.get(LEDGER) or {}
        return self._ledger_item

    async def _save_in_ledger_item(
        self, attributes: Mapping[str, Value], *, condition: str = "", **values: Value
    ) -> bool:
        """Set attributes of the ledger's item, which need not exist. Return False if the condition failed."""
        changes = ", ".join(f"{name} = :{name}" for name in attributes)
        item = await self._table.update(
            LEDGER,
            f"SET {changes}, {KEEP_FORMAT}",
            condition=condition,
            ledger_format=FORMAT,
            **attributes,
            **values,
        )
        self._ledger_item = item or self._ledger_item
        return item is not None

    @property
    def _floor(self) -> datetime | None:
        """Return the floor of all feeds: what stopped until then is never recorded, because its id may be forgotten."""
        floor = self._ledger_item.get("id_floor")
        return None if floor is None else from_micros(floor)

    def _journal_expiry(self, now: datetime) -> int:
        return expiry(now, self._retention.payloads)


def boot_seconds() -> float:
    """Return the seconds since the machine started, on a clock that no one sets and that runs while it sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def micros_or_zero(at: datetime | None) -> int:
    return 0 if at is None else to_micros(at)
