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
from forwarder.ledger import Books
from forwarder.ledger.details import unpacked
from forwarder.ledger.repair import repair
from forwarder.ledger.schema import connect
from forwarder.model import Checkpoint
from tests.clocks import NOON
from tests.disks import no_file_larger_than, unprivileged
from tests.ledger.files import books, filled
from tests.ledger.rescuing import (
    COUNT,
    OTHER,
    PAGE,
    WHOLE,
    checkpoints,
    detail,
    fill,
    known,
    letters,
    owed,
    pages,
    spoil,
)
from tests.samples import FEED


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("whole") / "ledger.db"
    fill(file)
    return file


def first_of_packs(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as db:
        return [first for (first,) in db.execute("SELECT first FROM details ORDER BY first")]


@pytest.fixture
def file(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy2(whole, tmp_path))


def test_a_sound_ledger_comes_over_whole(file: Path) -> None:
    packs = len(first_of_packs(file))
    assert 1 < packs < COUNT
    done = repair(file)
    assert (done.books, books(file)) == (WHOLE, WHOLE)
    assert (done.lost, done.without_detail) == ({}, [])
    large = dict.fromkeys(("executions", "entries"), COUNT + 20)
    assert done.rows == {"feeds": 2, **large, "details": packs, "minutes": 1, "lags": 1}
    assert checkpoints(file) == {FEED: Checkpoint(watermark=NOON, floor=NOON), OTHER: Checkpoint(watermark=NOON)}
    assert [each.entry.detail for each in owed(file)] == [detail(number) for number in range(20, COUNT + 20)]


def test_the_damaged_ledger_is_kept_as_it_was_and_nothing_else_is_left(file: Path) -> None:
    before = file.read_bytes()
    kept = repair(file).kept_as
    assert kept is not None
    assert kept.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, kept.name]


def test_damaged_indexes_cost_nothing(file: Path) -> None:
    for page in pages(file, "entries_owed", "entries_sent", "entries_dead"):
        spoil(file, page)
    with pytest.raises(LedgerError, match="damaged"):
        books(file)
    done = repair(file)
    assert (done.lost, books(file)) == ({}, WHOLE)


def test_a_hole_in_the_details_names_what_cannot_be_sent_and_keeps_the_rest(file: Path) -> None:
    middle = file.stat().st_size // PAGE // 2
    spoil(file, middle)
    done = repair(file)
    after = books(file)
    assert done.lost["details"] >= 1
    assert done.without_detail
    assert after.owed == COUNT - len(done.without_detail)
    assert sorted([*done.without_detail, *(each.entry.execution_id for each in owed(file))]) == [
        f"e-{number:03}" for number in range(20, COUNT + 20)
    ]


@pytest.mark.parametrize("table", ["executions", "feeds"])
def test_what_is_owed_survives_the_loss_of_a_whole_table(file: Path, table: str) -> None:
    spoil(file, pages(file, table)[0])
    done = repair(file)
    assert done.lost[table] == 1
    left = owed(file)
    assert [each.entry.detail for each in left] == [detail(number) for number in range(20, COUNT + 20)]
    assert {each.entry.feed for each in left} == {FEED}
    assert books(file).balanced


def test_books_and_notes_that_cannot_be_read_are_told_and_counted_anew(file: Path) -> None:
    for page in pages(file, "counters", "notes"):
        spoil(file, page)
    done = repair(file)
    assert {"counters", "notes"} <= set(done.lost)
    assert books(file) == WHOLE


def test_a_row_that_breaks_the_rules_of_its_table_is_told_as_lost(file: Path) -> None:
    firsts = first_of_packs(file)
    with closing(sqlite3.connect(file)) as db, db:
        (sql,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'details'").fetchone()
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'details'", (sql.replace("BLOB NOT NULL", "BLOB"),))
        db.execute("PRAGMA writable_schema = RESET")
        db.execute("UPDATE details SET body = NULL WHERE first = ?", (firsts[2],))
    done = repair(file)
    assert (done.rows["details"], done.lost) == (len(firsts) - 1, {"details": 1})
    assert done.without_detail == [f"e-{entry - 1:03}" for entry in range(firsts[2], firsts[3])]


def test_a_text_that_is_none_any_more_does_not_cost_its_row(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE entries SET reason = CAST(x'ff30' AS TEXT) WHERE state = 2")
    done = repair(file)
    assert done.lost == {}
    assert {letter.reason for letter in letters(file)} == {"\ufffd0"}


def test_an_id_that_is_another_than_its_key_says_is_told_as_lost(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE entries SET execution_id = 'e-mangled' WHERE entry = 30")
    assert repair(file).lost == {"entries": 1}
    assert "e-mangled" not in {each.entry.execution_id for each in owed(file)}


@pytest.mark.parametrize("body", [b"no zlib", b"", *map(zlib.compress, (b"no list", msgspec.msgpack.encode([1])))])
def test_details_that_are_none_any_more_are_told_and_may_be_found_again(file: Path, body: bytes) -> None:
    spoil(file, pages(file, "executions")[0])
    firsts = first_of_packs(file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE details SET body = ? WHERE first = ?", (body, firsts[2]))
    lost = [f"e-{entry - 1:03}" for entry in range(firsts[2], firsts[3])]
    assert repair(file).without_detail == lost
    after = books(file)
    assert (after.owed, after.dead) == (COUNT - len(lost), 10)
    assert known(file, *lost) == set()


def test_details_without_their_entries_go_and_those_beside_them_stay(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("DELETE FROM entries WHERE entry % 2 = 0 OR entry < 70")
    assert repair(file).without_detail == []
    left = [number for number in range(70 - 1, COUNT + 20) if number % 2 == 0]
    assert [each.entry.detail for each in owed(file)] == [detail(number) for number in left]
    with closing(sqlite3.connect(file)) as db:
        held = [b"".join(unpacked(*row)) for row in db.execute("SELECT first, body FROM details")]
    assert sum(body.count(b"noise") for body in held) == len(left)


def test_a_pack_under_a_damaged_number_goes_back_under_its_own(file: Path) -> None:
    firsts = first_of_packs(file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE details SET first = first - 9 WHERE first = ?", (firsts[2],))
    assert repair(file).without_detail == []
    assert first_of_packs(file) == firsts
    assert [each.entry.detail for each in owed(file)] == [detail(number) for number in range(20, COUNT + 20)]


@pytest.mark.parametrize("said", [0, 1, 4])
def test_a_version_that_is_damaged_costs_nothing(file: Path, said: int) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA user_version = {said}")
    with pytest.raises(LedgerError, match="damaged") as raised:
        books(file)
    assert "check --repair" in raised.value.hint
    done = repair(file)
    assert (done.lost, done.without_detail, books(file)) == ({}, [], WHOLE)
    assert [each.entry.detail for each in owed(file)] == [detail(number) for number in range(20, COUNT + 20)]


# What cannot be rescued.


def refused(file: Path) -> LedgerError:
    with pytest.raises(LedgerError) as raised:
        repair(file)
    assert raised.value.hint
    return raised.value


@pytest.mark.parametrize("content", [b"", b"no ledger", b"SQLite format 3\0" + bytes(9000), b"\xa5" * 9000])
def test_what_holds_nothing_is_refused_and_left_alone(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    refused(file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == content


def test_where_there_is_no_ledger_it_says_so(tmp_path: Path) -> None:
    assert "there is no ledger" in refused(tmp_path / "ledger.db").message
    assert not list(tmp_path.iterdir())


def test_a_ledger_of_a_newer_version_is_not_rescued_into_an_older_one(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("PRAGMA user_version = 99")
    before = file.read_bytes()
    assert "newer" in refused(file).message
    assert file.read_bytes() == before


def test_a_ledger_of_the_first_version_is_rescued_and_brought_up(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with closing(connect(file, create=True, at=1)) as db:
        db.execute("INSERT INTO feeds (feed, workflow_id, user_id) VALUES (1, 'w-1', '')")
        for number in range(3):
            whole = hashlib.blake2b(f"e-{number}".encode(), digest_size=16).digest()
            key, proof = (int.from_bytes(half, signed=True) for half in (whole[:8], whole[8:]))
            db.execute("INSERT INTO executions VALUES (?, ?, 1, NULL, 1, 1000, 1)", (key, proof))
        db.execute("UPDATE counters SET value = 3 WHERE name IN ('recorded', 'sent')")
    done = repair(file)
    assert (done.lost, done.rows["executions"]) == ({}, 3)
    assert books(file) == Books(recorded=3, sent=3)
    assert known(file, "e-0", "e-1", "e-2", "e-3") == {"e-0", "e-1", "e-2"}, "or they would be sent again"


def test_on_a_full_disk_it_is_refused_and_the_damaged_ledger_left_as_it_was(file: Path) -> None:
    before = file.read_bytes()
    with no_file_larger_than(len(before) // 2):
        assert isinstance(refused(file), LedgerUnavailable)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert repair(file).books == WHOLE


def test_in_a_folder_that_may_not_be_written_it_is_refused() -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        filled(file)
        file.parent.chmod(0o555)
        with unprivileged():
            assert isinstance(refused(file), LedgerUnavailable)
