"""The ledger files of a simulation, read with the program's own store."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from forwarder.ledger import Counters, FeedStatus, SqliteLedger

T = TypeVar("T")


def counters(file: Path) -> Counters:
    return _query(file, lambda ledger: ledger.counters())


def audit(file: Path) -> Counters:
    """Return the counters. Raise LedgerError if they do not add up."""
    return _query(file, lambda ledger: ledger.audit())


def feeds(file: Path) -> list[FeedStatus]:
    return _query(file, lambda ledger: ledger.feeds())


@contextmanager
def copy_ledger(file: Path) -> Iterator[Path | None]:
    """Yield a copy of a ledger as a crash left it, or None without one.

    Reading the file itself would recover it, and the forwarder must do that.
    """
    with tempfile.TemporaryDirectory(dir=file.parent) as directory:
        for name in (file.name, file.name + "-wal"):
            if (part := file.with_name(name)).exists():
                shutil.copy2(part, directory)
        copy = Path(directory, file.name)
        yield copy if copy.exists() and copy.stat().st_size else None


def _query(file: Path, operation: Callable[[SqliteLedger], Awaitable[T]]) -> T:
    async def query() -> T:
        async with SqliteLedger(file) as ledger:
            return await operation(ledger)

    return asyncio.run(query())
