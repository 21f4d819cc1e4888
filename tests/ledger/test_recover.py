"""`ledger repair` keeps every readable row, and reports the others as lost."""

from __future__ import annotations

import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger.repair.recover import recover
from forwarder.model import Checkpoint
from tests.disk_faults import no_file_larger_than, unprivileged
from tests.factories import FEED
from tests.ledger.damaged_ledger import (
    COUNT,
    OTHER,
    PAGE,
    WHOLE,
    checkpoints,
    claim_all,
    damage_page,
    detail,
    fill,
    known_ids,
    load_dead_letters,
    pages,
)
from tests.ledger.ledger_files import counters, create_ledger, execute_sql
from tests.virtual_clock import NOON


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("whole") / "ledger.db"
    fill(file)
    return file


def payload_keys(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as db:
        return [entry for (entry,) in db.execute("SELECT entry FROM payloads ORDER BY entry")]


@pytest.fixture
def file(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy2(whole, tmp_path))


def test_recovery_keeps_the_send_numbers(file: Path) -> None:
    """A replay after the recovery has a key of its own, and a damaged number loses no entry."""
    execute_sql(file, "UPDATE entries SET send_number = 3 * (entry - 1) WHERE entry <= 2")
    assert recover(file).lost == {}
    with closing(sqlite3.connect(file)) as db:
        query = "SELECT send_number FROM entries WHERE entry IN (1, 2) ORDER BY entry"
        assert db.execute(query).fetchall() == [(0,), (3,)]


def test_recovery_of_intact_ledger_loses_nothing(file: Path) -> None:
    recovery = recover(file)
    assert (recovery.counters, counters(file)) == (WHOLE, WHOLE)
    assert (recovery.lost, recovery.lost_payload_ids) == ({}, [])
    large = dict.fromkeys(("executions", "entries", "payloads"), COUNT + 20)
    assert recovery.rows == {"feeds": 2, **large, "minutes": 1, "lags": 1}
    assert checkpoints(file) == {FEED: Checkpoint(watermark=NOON, floor=NOON), OTHER: Checkpoint(watermark=NOON)}
    assert [each.entry.detail for each in claim_all(file)] == [detail(number) for number in range(20, COUNT + 20)]


@pytest.mark.parametrize("ending", [".rescued", ".copy"])
def test_recovery_removes_what_an_interrupted_one_left(file: Path, ending: str) -> None:
    for leftover in (file.with_name(f"{file.name}{ending}"), file.with_name(f"{file.name}{ending}-wal")):
        leftover.write_bytes(b"no ledger" * 1000)
    damaged_copy = recover(file).damaged_copy
    assert counters(file) == WHOLE
    assert damaged_copy is not None
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, damaged_copy.name]


def test_recovery_keeps_only_the_damaged_file_beside_it(file: Path) -> None:
    before = file.read_bytes()
    damaged_copy = recover(file).damaged_copy
    assert damaged_copy is not None
    assert damaged_copy.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, damaged_copy.name]


def test_recovery_from_damaged_indexes_loses_nothing(file: Path) -> None:
    for page in pages(file, "entries_pending", "entries_sent", "entries_dead"):
        damage_page(file, page)
    with pytest.raises(LedgerError, match="damaged"):
        counters(file)
    recovery = recover(file)
    assert (recovery.lost, counters(file)) == ({}, WHOLE)


def test_recovery_reports_entries_with_lost_payloads(file: Path) -> None:
    middle = file.stat().st_size // PAGE // 2
    damage_page(file, middle)
    recovery = recover(file)
    after = counters(file)
    assert recovery.lost["payloads"] >= 1
    assert recovery.lost_payload_ids
    assert after.pending == COUNT - len(recovery.lost_payload_ids)
    assert sorted([*recovery.lost_payload_ids, *(each.entry.execution_id for each in claim_all(file))]) == [
        f"e-{number:03}" for number in range(20, COUNT + 20)
    ]


@pytest.mark.parametrize("table", ["executions", "feeds"])
def test_recovery_keeps_pending_entries_without_a_table(file: Path, table: str) -> None:
    damage_page(file, pages(file, table)[0])
    recovery = recover(file)
    assert recovery.lost[table] == 1
    remaining = claim_all(file)
    assert [each.entry.detail for each in remaining] == [detail(number) for number in range(20, COUNT + 20)]
    assert {each.entry.feed for each in remaining} == {FEED}
    assert counters(file).is_balanced


def test_recovery_recounts_unreadable_counters(file: Path) -> None:
    for page in pages(file, "counters", "metadata"):
        damage_page(file, page)
    recovery = recover(file)
    assert {"counters", "metadata"} <= set(recovery.lost)
    assert counters(file) == WHOLE


def test_recovery_reports_an_unreadable_table_of_metadata(file: Path) -> None:
    damage_page(file, pages(file, "metadata")[0])
    done = recover(file)
    assert (done.lost, counters(file)) == ({"metadata": 1}, WHOLE)


def test_recovery_reports_invalid_rows_as_lost(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        (sql,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'payloads'").fetchone()
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'payloads'", (sql.replace("BLOB NOT NULL", "BLOB"),))
        db.execute("PRAGMA writable_schema = RESET")
        db.execute("UPDATE payloads SET body = NULL WHERE entry = 31")
    recovery = recover(file)
    assert (recovery.rows["payloads"], recovery.lost) == (COUNT + 19, {"payloads": 1})
    assert recovery.lost_payload_ids == ["e-030"]


def test_recovery_keeps_rows_with_invalid_text(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE entries SET reason = CAST(x'ff30' AS TEXT) WHERE state = 2")
    recovery = recover(file)
    assert recovery.lost == {}
    assert {dead_letter.reason for dead_letter in load_dead_letters(file)} == {"\ufffd0"}


def test_recovery_reports_mismatched_ids_as_lost(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE entries SET execution_id = 'e-mangled' WHERE entry = 30")
    assert recover(file).lost == {"entries": 1}
    assert "e-mangled" not in {each.entry.execution_id for each in claim_all(file)}


@pytest.mark.parametrize("body", [b"no zlib", b"", zlib.compress(b"{}"), (31).to_bytes(8) + b"no zlib", b"\xff" * 20])
def test_recovery_forgets_ids_of_unreadable_payloads(file: Path, body: bytes) -> None:
    damage_page(file, pages(file, "executions")[0])
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE payloads SET body = ? WHERE entry = 31", (body,))
    assert recover(file).lost_payload_ids == ["e-030"]
    after = counters(file)
    assert (after.pending, after.dead) == (COUNT - 1, 10)
    assert known_ids(file, "e-030", "e-031") == {"e-031"}


def test_recovery_deletes_orphaned_payloads_only(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("DELETE FROM entries WHERE entry % 2 = 0 OR entry < 70")
    assert recover(file).lost_payload_ids == []
    remaining = [number for number in range(70 - 1, COUNT + 20) if number % 2 == 0]
    assert [each.entry.detail for each in claim_all(file)] == [detail(number) for number in remaining]
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT count(*) FROM payloads").fetchone() == (len(remaining),)


def test_recovery_moves_payloads_to_their_own_keys(file: Path) -> None:
    keys = payload_keys(file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE payloads SET entry = 9000 WHERE entry = 31")
    assert recover(file).lost_payload_ids == []
    assert payload_keys(file) == keys
    assert [each.entry.detail for each in claim_all(file)] == [detail(number) for number in range(20, COUNT + 20)]


def test_recovery_keeps_the_verification_before_any_settlement(file: Path) -> None:
    """Without it, events that a missing bus accepted since then would not be sent again."""
    execute_sql(file, "INSERT INTO metadata VALUES ('bus:eu-west-1/failures', 0)")
    assert recover(file).lost == {}
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("SELECT value FROM metadata WHERE name LIKE 'bus:%'").fetchall() == [(0,)]


@pytest.mark.parametrize("stored_version", [0])
def test_recovery_from_damaged_version_loses_nothing(file: Path, stored_version: int) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA user_version = {stored_version}")
    with pytest.raises(LedgerError, match="damaged") as raised:
        counters(file)
    assert "ledger repair" in raised.value.hint
    recovery = recover(file)
    assert (recovery.lost, recovery.lost_payload_ids, counters(file)) == ({}, [], WHOLE)
    assert [each.entry.detail for each in claim_all(file)] == [detail(number) for number in range(20, COUNT + 20)]


def recovery_error(file: Path) -> LedgerError:
    with pytest.raises(LedgerError) as raised:
        recover(file)
    assert raised.value.hint
    return raised.value


@pytest.mark.parametrize("content", [b"", b"no ledger", b"SQLite format 3\0" + bytes(9000), b"\xa5" * 9000])
def test_recovery_refuses_unreadable_file_and_keeps_it(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    recovery_error(file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == content


def test_recovery_without_ledger_is_refused(tmp_path: Path) -> None:
    assert "there is no ledger" in recovery_error(tmp_path / "ledger.db").message
    assert not list(tmp_path.iterdir())


def test_recovery_of_newer_version_is_refused(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("PRAGMA user_version = 99")
    before = file.read_bytes()
    assert "newer" in recovery_error(file).message
    assert file.read_bytes() == before


def test_recovery_on_full_disk_changes_nothing(file: Path) -> None:
    before = file.read_bytes()
    with no_file_larger_than(len(before) // 2):
        assert isinstance(recovery_error(file), LedgerUnavailable)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert recover(file).counters == WHOLE


def test_recovery_in_read_only_folder_is_refused() -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        create_ledger(file)
        file.parent.chmod(0o555)
        with unprivileged():
            assert isinstance(recovery_error(file), LedgerUnavailable)
