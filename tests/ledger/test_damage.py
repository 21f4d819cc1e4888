"""A ledger file that is newer, damaged, cut or not writable is refused with a hint, and is never recreated."""

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger import Counters, SqliteLedger
from forwarder.model import Checkpoint
from tests.disk_faults import full_disk, unprivileged
from tests.factories import FEED, add_feed, entry
from tests.ledger.ledger_files import counters, create_ledger, execute_sql
from tests.virtual_clock import NOON


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_ledger_is_created_only_on_request(file: Path) -> None:
    with pytest.raises(LedgerError, match="no ledger") as raised:
        counters(file)
    assert raised.value.hint
    assert not file.exists()
    create_ledger(file, 0)
    assert counters(file) == Counters()
    assert file.stat().st_mode & 0o077 == 0


def test_ledger_of_newer_version_is_refused(file: Path) -> None:
    create_ledger(file)
    execute_sql(file, "PRAGMA user_version = 99")
    before = file.read_bytes()
    with pytest.raises(LedgerError, match="newer forwarder") as raised:
        counters(file)
    assert "install" in raised.value.hint
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database, but long enough" * 200, b"SQLite format 3\0" + bytes(5000)])
def test_foreign_file_is_refused_with_hint(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(LedgerError) as raised:
        counters(file)
    assert raised.value.hint


def hint_or_counters(file: Path) -> str | Counters:
    try:
        return counters(file)
    except LedgerError as error:
        return error.hint


@pytest.mark.parametrize("position", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_damaged_ledger_never_opens_as_empty(file: Path, position: float) -> None:
    create_ledger(file)
    content = bytearray(file.read_bytes())
    at = int(len(content) * position)
    content[at : at + 4096] = b"\xa5" * 4096
    file.write_bytes(content)
    # Damage in a payload alone does not change the counters.
    assert hint_or_counters(file) not in ("", Counters())
    assert hint_or_counters(file) == Counters(recorded=50, pending=50) or isinstance(hint_or_counters(file), str)


def test_truncated_file_is_refused_with_hint(file: Path) -> None:
    create_ledger(file)
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(LedgerError) as raised:
        counters(file)
    assert raised.value.hint


def test_audit_of_unbalanced_counters_fails(file: Path) -> None:
    create_ledger(file)
    execute_sql(file, "UPDATE counters SET value = 49 WHERE name = 'pending'")
    with pytest.raises(LedgerError, match="do not balance"):
        counters(file)


def test_record_on_full_disk_fails_until_space_is_free(file: Path) -> None:
    create_ledger(file, 1)
    advanced = Checkpoint(watermark=NOON)
    large = [entry(f"large-{number}", detail=os.urandom(50_000)) for number in range(4)]

    async def work() -> None:
        async with SqliteLedger(file) as ledger:
            with full_disk(file.parent):
                with pytest.raises(LedgerUnavailable) as raised:
                    await ledger.record(FEED, large, now=NOON, checkpoint=advanced)
                assert raised.value.hint
                assert await ledger.audit() == Counters(recorded=1, pending=1)
            assert await ledger.checkpoint(FEED) == Checkpoint()
            assert await ledger.record(FEED, large, now=NOON, checkpoint=advanced) == 4

    asyncio.run(work())
    assert counters(file) == Counters(recorded=5, pending=5)


@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_read_only_file_is_refused_with_hint(mode: int) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        create_ledger(file)
        file.parent.chmod(0o755)
        file.chmod(mode)
        with unprivileged(), pytest.raises(LedgerUnavailable) as raised:
            counters(file)
    assert "writable" in raised.value.hint


@pytest.mark.parametrize("damaged", [0, -7, "text", b"text", 2.5])
async def test_damaged_send_number_is_read_as_one(file: Path, damaged: object) -> None:
    """It prevents neither the delivery nor a replay."""
    async with SqliteLedger(file, create=True) as ledger:
        await add_feed(ledger, FEED, Checkpoint())
        await ledger.record(FEED, [entry("e-1")], now=NOON)
    execute_sql(file, "UPDATE entries SET send_number = ?", damaged)
    async with SqliteLedger(file) as ledger:
        claimed = await ledger.claim(1, now=NOON)
        assert [each.send_number for each in claimed] == [1]
        stored = await ledger.stored_entry(claimed[0].entry.execution_id)
        assert stored is not None
        assert not stored.replay
