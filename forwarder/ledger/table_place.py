"""The place of a ledger in a table of DynamoDB.

It loads the AWS SDK when the table is used. The SDK takes about a second of processor time on a small machine, and a
health check, which only needs to know that the ledger is a table, runs every 30 s.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from forwarder.ledger.protocol import Ledger
from forwarder.settings import ConfigSource, LocalSettings
from forwarder.settings.validators.ledger_url import TableLocation


def _utc_now() -> datetime:
    return datetime.now(UTC)


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
        # The package loads the SDK: see above.
        from forwarder.ledger.dynamodb.create import create_table  # noqa: PLC0415
        from forwarder.ledger.dynamodb.place import table_client  # noqa: PLC0415

        connect = await asyncio.to_thread(table_client, self._config_source, self._settings, self._location)
        return await create_table(self._location, connect)

    def _ledger(self, now: Callable[[], datetime]) -> AbstractAsyncContextManager[Ledger]:
        from forwarder.ledger.dynamodb.place import table_ledger  # noqa: PLC0415  # the package loads the SDK: see above

        return table_ledger(self._config_source, self._settings, self._location, now)
