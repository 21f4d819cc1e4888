"""Ledgers as they are found on disk, read by the program's own means."""

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


def books(file: Path) -> Counters:
    return _ask(file, lambda ledger: ledger.counters())


def audit(file: Path) -> Counters:
    """Raises LedgerError where the books do not balance."""
    return _ask(file, lambda ledger: ledger.audit())


def feeds(file: Path) -> list[FeedStatus]:
    return _ask(file, lambda ledger: ledger.feeds())


@contextmanager
def copied(file: Path) -> Iterator[Path | None]:
    """As a crash left it, and None where there is none: a look at the file itself would mend what is to be mended
    by the forwarder.
    """
    with tempfile.TemporaryDirectory(dir=file.parent) as place:
        for name in (file.name, file.name + "-wal"):
            if (part := file.with_name(name)).exists():
                shutil.copy2(part, place)
        copy = Path(place, file.name)
        yield copy if copy.exists() and copy.stat().st_size else None


def _ask(file: Path, question: Callable[[SqliteLedger], Awaitable[T]]) -> T:
    async def ask() -> T:
        async with SqliteLedger(file) as ledger:
            return await question(ledger)

    return asyncio.run(ask())
