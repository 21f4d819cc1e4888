"""The place of a ledger in DynamoDB, and the keys with which it is opened."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from forwarder.aws.credentials import Identity, StoredKeys
from forwarder.aws.dynamodb import dynamodb_client
from forwarder.errors import ForwarderError
from forwarder.ledger.dynamodb import DynamoLedger
from forwarder.ledger.dynamodb.create import create_table
from forwarder.ledger.dynamodb.executions import Retention
from forwarder.ledger.dynamodb.table import Connect
from forwarder.ledger.protocol import Ledger
from forwarder.settings import ConfigSource, LocalSettings
from forwarder.settings.sections import DestinationSettings
from forwarder.settings.validators.ledger_url import TableLocation
from forwarder.vault import Vault


def _utc_now() -> datetime:
    return datetime.now(UTC)


def table_client(config_source: ConfigSource, settings: LocalSettings, location: TableLocation) -> Connect:
    """Return a client with the keys of the vault, or those of the ambient chain if there is no vault.

    Keys that DynamoDB refuses are read from the vault again: a rotation must not need a restart.
    """
    stored = StoredKeys.of(Vault.open(config_source, settings))
    destination = DestinationSettings(event_bus="default", region=location.region)

    def stored_keys() -> StoredKeys | None:
        try:
            return StoredKeys.of(Vault.open(config_source, settings)) or stored  # never replaced by ambient keys
        except ForwarderError:  # the vault cannot be opened for now: the next refusal reads it again
            return stored

    return lambda: dynamodb_client(
        Identity(destination, stored),
        region=location.region,
        endpoint_url=location.endpoint_url,
        stored_keys=stored_keys,
    )


class TablePlace:
    """A table of DynamoDB, for many processes."""

    def __init__(self, config_source: ConfigSource, settings: LocalSettings, location: TableLocation) -> None:
        self._config_source = config_source
        self._settings = settings
        self._location = location

    def __str__(self) -> str:
        return f"the table {self._location}"

    @asynccontextmanager
    async def run(self, now: Callable[[], datetime]) -> AsyncIterator[Ledger]:
        async with await asyncio.to_thread(self._ledger, now) as ledger:
            yield ledger

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ledger]:
        async with await asyncio.to_thread(self._ledger, _utc_now) as ledger:
            yield ledger

    def check(self) -> None:
        """Do nothing: opening it shows all that can be checked."""

    def exists(self) -> bool:
        return True

    def is_complete(self) -> bool:
        return True

    async def is_running(self) -> bool:
        async with self.open() as ledger:
            return any(member.is_running(_utc_now()) for member in (await ledger.members()).members)

    def is_locked(self) -> None:
        return None

    def files(self) -> list[Path]:
        return []

    async def create(self) -> bool:
        """Create the table. Return False if it existed already."""
        return await create_table(self._location, await asyncio.to_thread(self._connect))

    def _connect(self) -> Connect:
        return table_client(self._config_source, self._settings, self._location)

    def _ledger(self, now: Callable[[], datetime]) -> DynamoLedger:
        settings = self._settings.ledger
        return DynamoLedger(
            self._location,
            self._connect(),
            Retention(settings.id_retention, settings.payload_retention),
            heartbeat_seconds=settings.heartbeat_interval.total_seconds(),
            host=socket.gethostname(),
            now=now,
        )
