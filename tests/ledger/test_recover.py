"""`repair`: every row that can be read comes over, and the rest is told."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger import Counters
from forwarder.ledger.repair.recover import recover
from forwarder.ledger.sqlite.connection import connect
from forwarder.ledger.sqlite.payloads import unpack
from forwarder.model import Checkpoint
from tests.clocks import NOON
from tests.disks import no_file_larger_than, unprivileged
from tests.ledger.damaged_ledger import (
    COUNT,
    OTHER,
    PAGE,
    WHOLE,
    checkpoints,
    claim_all,
    detail,
    fill,
    known_ids,
    load_dead_letters,
    pages,
    spoil,
)
from tests.ledger.ledger_files import counters, create_ledger
from tests.samples import FEED


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("whole") / "ledger.db"
    fill(file)
    return file


def first_of_packs(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as db:
        return [first for (first,) in db.execute("SELECT first FROM payloads ORDER BY first")]


@pytest.fixture
def file(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy2(whole, tmp_path))


def test_recovery_of_intact_ledger_loses_nothing(file: Path) -> None:
    packs = len(first_of_packs(file))
    assert 1 < packs < COUNT
    done = recover(file)
    assert (done.counters, counters(file)) == (WHOLE, WHOLE)
    assert (done.lost, done.lost_payload_ids) == ({}, [])
    large = dict.fromkeys(("executions", "entries"), COUNT + 20)
    assert done.rows == {"feeds": 2, **large, "payloads": packs, "minutes": 1, "lags": 1}
    assert checkpoints(file) == {FEED: Checkpoint(watermark=NOON, floor=NOON), OTHER: Checkpoint(watermark=NOON)}
    assert [each.entry.detail for each in claim_all(file)] == [detail(number) for number in range(20, COUNT + 20)]


def test_recovery_keeps_only_the_damaged_file_beside_it(file: Path) -> None:
    before = file.read_bytes()
    damaged_copy = recover(file).damaged_copy
    assert damaged_copy is not None
    assert damaged_copy.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, damaged_copy.name]


def test_recovery_from_damaged_indexes_loses_nothing(file: Path) -> None:
    for page in pages(file, "entries_pending", "entries_sent", "entries_dead"):
        spoil(file, page)
    with pytest.raises(LedgerError, match="damaged"):
        counters(file)
    done = recover(file)
    assert (done.lost, counters(file)) == ({}, WHOLE)


def test_recovery_reports_entries_with_lost_payloads(file: Path) -> None:
    middle = file.stat().st_size // PAGE // 2
    spoil(file, middle)
    done = recover(file)
    after = counters(file)
    assert done.lost["payloads"] >= 1
    assert done.lost_payload_ids
    assert after.pending == COUNT - len(done.lost_payload_ids)
    assert sorted([*done.lost_payload_ids, *(each.entry.execution_id for each in claim_all(file))]) == [
        f"e-{number:03}" for number in range(20, COUNT + 20)
    ]


@pytest.mark.parametrize("table", ["executions", "feeds"])
def test_recovery_keeps_pending_entries_without_a_table(file: Path, table: str) -> None:
    spoil(file, pages(file, table)[0])
    done = recover(file)
    assert done.lost[table] == 1
    remaining = claim_all(file)
    assert [each.entry.detail for each in remaining] == [detail(number) for number in range(20, COUNT + 20)]
    assert {each.entry.feed for each in remaining} == {FEED}
    assert counters(file).is_balanced


def test_recovery_recounts_unreadable_counters(file: Path) -> None:
    for page in pages(file, "counters", "metadata"):
        spoil(file, page)
    done = recover(file)
    assert {"counters", "metadata"} <= set(done.lost)
    assert counters(file) == WHOLE


def test_recovery_reports_invalid_rows_as_lost(file: Path) -> None:
    firsts = first_of_packs(file)
    with closing(sqlite3.connect(file)) as db, db:
        (sql,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'payloads'").fetchone()
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'payloads'", (sql.replace("BLOB NOT NULL", "BLOB"),))
        db.execute("PRAGMA writable_schema = RESET")
        db.execute("UPDATE payloads SET body = NULL WHERE first = ?", (firsts[2],))
    done = recover(file)
    assert (done.rows["payloads"], done.lost) == (len(firsts) - 1, {"payloads": 1})
    assert done.lost_payload_ids == [f"e-{entry - 1:03}" for entry in range(firsts[2], firsts[3])]


def test_recovery_keeps_rows_with_invalid_text(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE entries SET reason = CAST(x'ff30' AS TEXT) WHERE state = 2")
    done = recover(file)
    assert done.lost == {}
    assert {dead_letter.reason for dead_letter in load_dead_letters(file)} == {"\ufffd0"}


def test_recovery_reports_mismatched_ids_as_lost(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE entries SET execution_id = 'e-mangled' WHERE entry = 30")
    assert recover(file).lost == {"entries": 1}
    assert "e-mangled" not in {each.entry.execution_id for each in claim_all(file)}


@pytest.mark.parametrize("body", [b"no zlib", b"", *map(zlib.compress, (b"no list", msgspec.msgpack.encode([1])))])
def test_recovery_forgets_ids_of_unreadable_payloads(file: Path, body: bytes) -> None:
    spoil(file, pages(file, "executions")[0])
    firsts = first_of_packs(file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE payloads SET body = ? WHERE first = ?", (body, firsts[2]))
    lost = [f"e-{entry - 1:03}" for entry in range(firsts[2], firsts[3])]
    assert recover(file).lost_payload_ids == lost
    after = counters(file)
    assert (after.pending, after.dead) == (COUNT - len(lost), 10)
    assert known_ids(file, *lost) == set()


def test_recovery_deletes_orphaned_payloads_only(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("DELETE FROM entries WHERE entry % 2 = 0 OR entry < 70")
    assert recover(file).lost_payload_ids == []
    remaining = [number for number in range(70 - 1, COUNT + 20) if number % 2 == 0]
    assert [each.entry.detail for each in claim_all(file)] == [detail(number) for number in remaining]
    with closing(sqlite3.connect(file)) as db:
        bodies = [b"".join(unpack(*row)) for row in db.execute("SELECT first, body FROM payloads")]
    assert sum(body.count(b"noise") for body in bodies) == len(remaining)


def test_recovery_restores_the_number_of_a_pack(file: Path) -> None:
    firsts = first_of_packs(file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE payloads SET first = first - 9 WHERE first = ?", (firsts[2],))
    assert recover(file).lost_payload_ids == []
    assert first_of_packs(file) == firsts
    assert [each.entry.detail for each in claim_all(file)] == [detail(number) for number in range(20, COUNT + 20)]


@pytest.mark.parametrize("stored_version", [0, 1, 4])
def test_recovery_from_damaged_version_loses_nothing(file: Path, stored_version: int) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA user_version = {stored_version}")
    with pytest.raises(LedgerError, match="damaged") as raised:
        counters(file)
    assert "ledger repair" in raised.value.hint
    done = recover(file)
    assert (done.lost, done.lost_payload_ids, counters(file)) == ({}, [], WHOLE)
    assert [each.entry.detail for each in claim_all(file)] == [detail(number) for number in range(20, COUNT + 20)]


# What cannot be rescued.


def refused(file: Path) -> LedgerError:
    with pytest.raises(LedgerError) as raised:
        recover(file)
    assert raised.value.hint
    return raised.value


@pytest.mark.parametrize("content", [b"", b"no ledger", b"SQLite format 3\0" + bytes(9000), b"\xa5" * 9000])
def test_recovery_refuses_unreadable_file_and_keeps_it(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    refused(file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == content


def test_recovery_without_ledger_is_refused(tmp_path: Path) -> None:
    assert "there is no ledger" in refused(tmp_path / "ledger.db").message
    assert not list(tmp_path.iterdir())


def test_recovery_of_newer_version_is_refused(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("PRAGMA user_version = 99")
    before = file.read_bytes()
    assert "newer" in refused(file).message
    assert file.read_bytes() == before


def test_recovery_migrates_the_first_version(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with closing(connect(file, create=True, target_version=1)) as db:
        db.execute("INSERT INTO feeds (feed, workflow_id, user_id) VALUES (1, 'w-1', '')")
        for number in range(3):
            whole = hashlib.blake2b(f"e-{number}".encode(), digest_size=16).digest()
            key, fingerprint = (int.from_bytes(half, signed=True) for half in (whole[:8], whole[8:]))
            db.execute("INSERT INTO executions VALUES (?, ?, 1, NULL, 1, 1000, 1)", (key, fingerprint))
        db.execute("UPDATE counters SET value = 3 WHERE name IN ('recorded', 'sent')")
    done = recover(file)
    assert (done.lost, done.rows["executions"]) == ({}, 3)
    assert counters(file) == Counters(recorded=3, sent=3)
    assert known_ids(file, "e-0", "e-1", "e-2", "e-3") == {"e-0", "e-1", "e-2"}, "or they would be sent again"


def test_recovery_on_full_disk_changes_nothing(file: Path) -> None:
    before = file.read_bytes()
    with no_file_larger_than(len(before) // 2):
        assert isinstance(refused(file), LedgerUnavailable)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert recover(file).counters == WHOLE


def test_recovery_in_read_only_folder_is_refused() -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        create_ledger(file)
        file.parent.chmod(0o555)
        with unprivileged():
            assert isinstance(refused(file), LedgerUnavailable)
