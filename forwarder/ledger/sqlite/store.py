"""The state that all operations of a SQLite ledger share."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from forwarder.errors import LedgerError
from forwarder.ledger.fleet import ONE_PROCESS, Fleet
from forwarder.ledger.sqlite.lock import RunningLock
from forwarder.ledger.sqlite.traffic import UnsavedTraffic
from forwarder.ledger.sqlite.writer import Writer
from forwarder.model import Token


class SqliteStore:
    """The base of the classes that implement the protocol, one for each use case.

    Entering a store with `async with` opens the file. Entering raises LedgerError if the file cannot be opened.
    """

    def __init__(self, file: Path, *, create: bool = False, lock: RunningLock | None = None) -> None:
        """Prepare a store. `lock` is held by the process that runs on the ledger. A command beside it passes None."""
        self._traffic = UnsavedTraffic()
        self._writer = Writer(file, self._traffic, create=create, lock=lock)
        self._claimed: dict[Token, tuple[datetime, bool]] = {}
        """For each claimed entry, the stop of its execution and whether it is a replay."""

    async def beat(self) -> Fleet:
        return await self.members()

    def set_feed_group(self, group: str) -> None:
        """Do nothing, because no other process uses the ledger."""

    def set_cannot_read(self, *, cannot_read: bool) -> None:
        """Do nothing, because no other process uses the ledger."""

    def give_up_feeds(self) -> None:
        """Do nothing, because no other process uses the ledger."""

    async def members(self) -> Fleet:
        """Return this process: the lock of the file admits no other."""
        return ONE_PROCESS

    async def keep_alive(self) -> None:
        """Do nothing, because no other process uses the ledger."""

    async def leave(self) -> None:
        """Do nothing: the entries wait for this process."""

    async def __aenter__(self) -> Self:
        await self._writer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._traffic.is_unsaved:
            self._traffic.save_all_at_next_commit()
            with suppress(LedgerError):
                await self._writer.write(lambda _: None)
        await self._writer.stop()
