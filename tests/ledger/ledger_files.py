"""Ledger files, filled and read from synchronous tests."""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from forwarder.ledger import Counters, SqliteLedger
from forwarder.model import Checkpoint
from tests.factories import FEED, entry
from tests.virtual_clock import NOON


def counters(file: Path) -> Counters:
    """Open the ledger, and return its audited counters."""

    async def read() -> Counters:
        async with SqliteLedger(file) as ledger:
            return await ledger.audit()

    return asyncio.run(read())


def create_ledger(file: Path, entries: int = 50) -> None:
    async def fill() -> None:
        async with SqliteLedger(file, create=True) as ledger:
            await ledger.add_feeds({FEED: Checkpoint()})
            failures = [entry(f"e-{number}", detail=os.urandom(2000)) for number in range(entries)]
            await ledger.record(FEED, failures, now=NOON)

    asyncio.run(fill())


def execute_sql(file: Path, statement: str, *values: object) -> None:
    """Execute a statement on the file, as another program would."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement, values)
