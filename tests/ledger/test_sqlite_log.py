"""A write-ahead log that is cut, alone, or gone: whole commits count, and a ledger that lost all is no new one."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from forwarder.errors import LedgerError
from forwarder.ledger import SqliteLedger
from forwarder.ledger.repair import repair
from forwarder.model import Checkpoint
from tests.clocks import NOON
from tests.ledger.files import books, filled
from tests.ledger.rescuing import detail
from tests.samples import FEED, entry


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A ledger as a crash leaves it: most of it in its write-ahead log."""
    place, live = tmp_path / "crashed", tmp_path / "live"
    for each in (place, live):
        each.mkdir()

    async def fill() -> None:
        async with SqliteLedger(live / "ledger.db", create=True) as ledger:
            await ledger.begin({FEED: Checkpoint()})
            for number in range(50):
                await ledger.record(FEED, [entry(f"e-{number:03}", detail=detail(number))], now=NOON)
            for part in live.iterdir():
                shutil.copy2(part, place)

    asyncio.run(fill())
    return place / "ledger.db"


def wal(file: Path) -> Path:
    return file.with_name(file.name + "-wal")


def test_without_its_shared_memory_a_write_ahead_log_is_read_all_the_same(logged: Path) -> None:
    logged.with_name(logged.name + "-shm").unlink()
    assert books(logged).owed == 50


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_write_ahead_log_that_was_cut_keeps_its_whole_commits(logged: Path, share: float) -> None:
    os.truncate(wal(logged), int(wal(logged).stat().st_size * share))
    assert 0 < books(logged).owed < 50
    before = books(logged)
    repair(logged)
    assert books(logged) == before


def test_a_rescue_reads_the_write_ahead_log_and_keeps_it_with_its_ledger(logged: Path) -> None:
    content = wal(logged).read_bytes()
    done = repair(logged)
    assert (done.books.owed, books(logged).owed) == (50, 50)
    assert done.kept_as is not None
    assert wal(done.kept_as).read_bytes() == content


def test_a_ledger_that_lost_its_write_ahead_log_with_all_it_held_is_no_new_one(logged: Path) -> None:
    wal(logged).unlink()
    logged.with_name(logged.name + "-shm").unlink()
    with pytest.raises(LedgerError, match="holds nothing") as raised:
        books(logged)
    assert raised.value.hint


def test_a_ledger_emptied_to_its_last_byte_is_no_new_one(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    filled(file)
    os.truncate(file, 0)
    with pytest.raises(LedgerError, match="holds nothing"):
        books(file)
    assert file.stat().st_size == 0, "and none is begun in it"
