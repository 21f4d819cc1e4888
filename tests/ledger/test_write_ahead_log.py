"""A write-ahead log that is cut, alone or missing: whole commits are kept, and an emptied ledger is not recreated."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from forwarder.errors import LedgerError
from forwarder.ledger import SqliteLedger
from forwarder.ledger.repair.recover import recover
from forwarder.model import Checkpoint
from tests.factories import FEED, entry
from tests.ledger.damaged_ledger import detail
from tests.ledger.ledger_files import counters, create_ledger
from tests.virtual_clock import NOON


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """Create a ledger in the state after a crash: most of it is in the write-ahead log."""
    crashed, live = tmp_path / "crashed", tmp_path / "live"
    for each in (crashed, live):
        each.mkdir()

    async def fill() -> None:
        async with SqliteLedger(live / "ledger.db", create=True) as ledger:
            await ledger.add_feeds({FEED: Checkpoint()})
            for number in range(50):
                await ledger.record(FEED, [entry(f"e-{number:03}", detail=detail(number))], now=NOON)
            for source in live.iterdir():
                shutil.copy2(source, crashed)

    asyncio.run(fill())
    return crashed / "ledger.db"


def wal(file: Path) -> Path:
    return file.with_name(file.name + "-wal")


def test_write_ahead_log_without_shared_memory_is_read(logged: Path) -> None:
    logged.with_name(logged.name + "-shm").unlink()
    assert counters(logged).pending == 50


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_truncated_write_ahead_log_keeps_whole_commits(logged: Path, share: float) -> None:
    os.truncate(wal(logged), int(wal(logged).stat().st_size * share))
    assert 0 < counters(logged).pending < 50
    before = counters(logged)
    recover(logged)
    assert counters(logged) == before


def test_recovery_reads_and_keeps_the_write_ahead_log(logged: Path) -> None:
    content = wal(logged).read_bytes()
    done = recover(logged)
    assert (done.counters.pending, counters(logged).pending) == (50, 50)
    assert done.damaged_copy is not None
    assert wal(done.damaged_copy).read_bytes() == content


def test_ledger_without_its_write_ahead_log_is_refused(logged: Path) -> None:
    wal(logged).unlink()
    logged.with_name(logged.name + "-shm").unlink()
    with pytest.raises(LedgerError, match="is empty now") as raised:
        counters(logged)
    assert raised.value.hint


def test_empty_ledger_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    create_ledger(file)
    os.truncate(file, 0)
    with pytest.raises(LedgerError, match="is empty now"):
        counters(file)
    assert file.stat().st_size == 0, "the file is not recreated"
