"""A ledger's file of another version, damaged, cut, or not writable is told with a hint, and never begun anew."""

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger import Books, SqliteLedger
from forwarder.model import Checkpoint
from tests.clocks import NOON
from tests.disks import full_disk, unprivileged
from tests.ledger.files import books, changed, filled
from tests.samples import FEED, entry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_a_ledger_is_made_only_where_that_was_asked_for(file: Path) -> None:
    with pytest.raises(LedgerError, match="no ledger") as raised:
        books(file)
    assert raised.value.hint
    assert not file.exists()
    filled(file, 0)
    assert books(file) == Books()
    assert file.stat().st_mode & 0o077 == 0


def test_a_ledger_of_a_newer_version_is_refused_and_left_alone(file: Path) -> None:
    filled(file)
    changed(file, "PRAGMA user_version = 99")
    before = file.read_bytes()
    with pytest.raises(LedgerError, match="newer forwarder") as raised:
        books(file)
    assert "install" in raised.value.hint
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database, but long enough" * 200, b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_ledger_is_refused_with_a_hint(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(LedgerError) as raised:
        books(file)
    assert raised.value.hint


def hint_or_books(file: Path) -> str | Books:
    try:
        return books(file)
    except LedgerError as error:
        return error.hint


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_damage_is_told_with_a_hint_and_never_taken_for_an_empty_ledger(file: Path, place: float) -> None:
    filled(file)
    content = bytearray(file.read_bytes())
    at = int(len(content) * place)
    content[at : at + 4096] = b"\xa5" * 4096
    file.write_bytes(content)
    # Where only a payload was hit, the books are none the wiser.
    assert hint_or_books(file) not in ("", Books())
    assert hint_or_books(file) == Books(recorded=50, owed=50) or isinstance(hint_or_books(file), str)


def test_a_file_cut_short_is_told_with_a_hint(file: Path) -> None:
    filled(file)
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(LedgerError) as raised:
        books(file)
    assert raised.value.hint


def test_books_that_do_not_balance_are_told(file: Path) -> None:
    filled(file)
    changed(file, "UPDATE counters SET value = 49 WHERE name = 'owed'")
    with pytest.raises(LedgerError, match="do not balance"):
        books(file)


def test_a_full_disk_refuses_work_whole_and_all_goes_on_when_there_is_room(file: Path) -> None:
    filled(file, 1)
    moved = Checkpoint(watermark=NOON)
    large = [entry(f"large-{number}", detail=os.urandom(50_000)) for number in range(4)]

    async def work() -> None:
        async with SqliteLedger(file) as ledger:
            with full_disk(file.parent):
                with pytest.raises(LedgerUnavailable) as raised:
                    await ledger.record(FEED, large, now=NOON, checkpoint=moved)
                assert raised.value.hint
                assert await ledger.audit() == Books(recorded=1, owed=1)
            assert await ledger.checkpoint(FEED) == Checkpoint()
            assert await ledger.record(FEED, large, now=NOON, checkpoint=moved) == 4

    asyncio.run(work())
    assert books(file) == Books(recorded=5, owed=5)


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_a_file_that_may_not_be_written_is_told_with_a_hint(mode: int) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        filled(file)
        file.parent.chmod(0o755)
        file.chmod(mode)
        with unprivileged(), pytest.raises(LedgerUnavailable) as raised:
            books(file)
    assert "writable" in raised.value.hint
