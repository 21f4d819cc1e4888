"""The place of the ledger that the settings name: a file of SQLite, or a table of DynamoDB.

Nothing outside of this package depends on which of them it is.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from forwarder import atomicfile
from forwarder.errors import UsageError
from forwarder.ledger.protocol import Ledger
from forwarder.ledger.sqlite import SqliteLedger
from forwarder.ledger.sqlite.lock import (
    RunningLock,
    is_running,
    lock_file,
    require_folder,
    require_ledger,
    require_writable,
    was_created,
)
from forwarder.ledger.table_place import TablePlace
from forwarder.settings import ConfigSource, LocalSettings
from forwarder.settings.validators.ledger_url import FILE_PREFIX, TableLocation


class LedgerPlace(Protocol):
    """The place of a ledger. `str()` returns its name for messages."""

    def run(self, now: Callable[[], datetime]) -> AbstractAsyncContextManager[Ledger]:
        """Open the ledger for a process that runs the loops, and create it if it does not exist.

        Raise LedgerLocked if another process runs on a ledger that cannot be shared, and LedgerError or SettingsError
        if it cannot be opened.
        """

    def open(self) -> AbstractAsyncContextManager[Ledger]:
        """Open an existing ledger for a command. Raise LedgerError if it cannot be opened."""

    def check(self) -> None:
        """Raise SettingsError or LedgerError if a run could not open or create the ledger."""

    def exists(self) -> bool:
        """Return whether the ledger was created. Raise LedgerError if it was lost since."""

    def is_complete(self) -> bool:
        """Return whether the creation of an existing ledger is complete."""

    async def is_running(self) -> bool:
        """Return whether a process runs on the ledger."""

    def is_locked(self) -> bool | None:
        """Return whether a process on this machine holds the ledger's lock, or None if the ledger has no lock."""

    def files(self) -> list[Path]:
        """Return the files of the ledger on this machine, existing or not."""


def ledger_place(config_source: ConfigSource, settings: LocalSettings) -> LedgerPlace:
    """Return the place that `ledger.url` names. Nothing is opened."""
    url = settings.ledger.url
    if url.startswith(FILE_PREFIX):
        return _FilePlace(ledger_file(config_source, settings))
    return TablePlace(config_source, settings, TableLocation.of(url))


def ledger_file(config_source: ConfigSource, settings: LocalSettings) -> Path:
    """Return the path of a ledger that is a file, at the end of all links. Raise UsageError if it is a table.

    The lock is beside the file, so that two forwarders that know the ledger by different names do not both run on it.
    """
    if settings.ledger.url.startswith(FILE_PREFIX):
        return atomicfile.resolve_links(config_source.path(settings.ledger.url.removeprefix(FILE_PREFIX)))
    raise UsageError(
        "the ledger is a table of DynamoDB, and this command is for a file",
        hint="back up and restore a table with DynamoDB's point-in-time recovery",
    )


async def create_ledger(config_source: ConfigSource, settings: LocalSettings) -> bool:
    """Create the table of `ledger.url`, and wait until it can be used. Return False if it existed already.

    Raise UsageError if the ledger is a file, and LedgerError if the table cannot be created.
    """
    if settings.ledger.url.startswith(FILE_PREFIX):
        file = ledger_file(config_source, settings)
        raise UsageError(
            f"the ledger is a file: {file}", hint="it needs no command: `forwarder run` and `once` create it"
        )
    return await TablePlace(config_source, settings, TableLocation.of(settings.ledger.url)).create()


class _FilePlace:
    """A file of SQLite, for one process at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __str__(self) -> str:
        return str(self._file)

    @asynccontextmanager
    async def run(self, now: Callable[[], datetime]) -> AsyncIterator[Ledger]:  # noqa: ARG002  # a table needs it
        require_folder(self._file)
        with RunningLock(self._file) as lock:
            async with SqliteLedger(self._file, create=not lock.ledger_created, lock=lock) as ledger:
                yield ledger

    def open(self) -> AbstractAsyncContextManager[Ledger]:
        return SqliteLedger(self._file)

    def check(self) -> None:
        require_folder(self._file)
        require_ledger(self._file)
        require_writable(self._file)

    def exists(self) -> bool:
        require_ledger(self._file)
        return self._file.exists()

    def is_complete(self) -> bool:
        return was_created(self._file) is not False

    async def is_running(self) -> bool:
        return is_running(self._file)

    def is_locked(self) -> bool:
        return is_running(self._file)

    def files(self) -> list[Path]:
        return [self._file, lock_file(self._file)]
