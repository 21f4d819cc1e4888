"""A ledger is created and migrated in one transaction, and a file of another kind is refused."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from forwarder.errors import LedgerError
from forwarder.ledger import Counters, RunningLock
from forwarder.ledger.sqlite.connection import connect
from forwarder.ledger.sqlite.migrations import APPLICATION_ID, FORMAT, MIGRATIONS, migrate
from tests.ledger.ledger_files import counters, create_ledger

OPEN = """
import sys
from pathlib import Path
from forwarder.ledger.sqlite.connection import connect

connect(Path(sys.argv[1]), create=True)
"""

NEXT = (*MIGRATIONS, "CREATE TABLE more (a);\n")
BROKEN = (*MIGRATIONS, "CREATE TABLE more (a);\nCREATE TABLE more (a);\n")


def tables(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as db:
        return [row[0] for row in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")]


@pytest.fixture
def next_format(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, NEXT)


def use(monkeypatch: pytest.MonkeyPatch, migrations: tuple[str, ...]) -> None:
    monkeypatch.setattr("forwarder.ledger.sqlite.migrations.MIGRATIONS", migrations)
    monkeypatch.setattr("forwarder.ledger.sqlite.connection.FORMAT", len(migrations))
    monkeypatch.setattr("forwarder.ledger.sqlite.connection.migrate", lambda db: migrate(db, len(migrations)))


def test_new_ledger_has_format_and_application_id(tmp_path: Path) -> None:
    connect(file := tmp_path / "ledger.db", create=True).close()
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (FORMAT,)
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_creation_by_several_processes_happens_once(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    openers = [subprocess.Popen([sys.executable, "-c", OPEN, str(file)]) for _ in range(4)]  # noqa: S603  # fixed command
    assert [opener.wait(60) for opener in openers] == [0, 0, 0, 0]
    assert counters(file) == Counters()


@pytest.mark.usefixtures("next_format")
def test_migration_keeps_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ledger.db"
    with monkeypatch.context() as before:
        use(before, MIGRATIONS)
        create_ledger(file, 3)
    assert counters(file) == Counters(recorded=3, pending=3)
    assert "CREATE TABLE more (a)" in tables(file)


def test_failed_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ledger.db"
    create_ledger(file, 1)
    before = tables(file)
    with monkeypatch.context() as broken:
        use(broken, BROKEN)
        with pytest.raises(LedgerError):
            connect(file, create=False)
    assert tables(file) == before
    assert counters(file) == Counters(recorded=1, pending=1)


def test_migration_beside_older_forwarder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ledger.db"
    create_ledger(file, 1)
    use(monkeypatch, NEXT)
    with RunningLock(file) as lock:
        lock.save_created()
        with pytest.raises(LedgerError, match="an older forwarder runs on it"):
            connect(file, create=False)
        connect(file, create=True).close()  # as the process with the lock does
        connect(file, create=False).close()


def test_newer_format_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    create_ledger(file, 1)
    with closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(LedgerError, match="written by a newer forwarder"):
        connect(file, create=False)


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("application_id", [0, 0x46574452, 0x0F055112])
def test_file_of_another_program_is_refused_and_unchanged(tmp_path: Path, application_id: int, *, create: bool) -> None:
    """0x46574452 is the id of ledgers before 0.2, and 0x0F055112 that of Fossil's repositories."""
    file = tmp_path / "ledger.db"
    with closing(sqlite3.connect(file)) as db:
        db.executescript(f"PRAGMA application_id = {application_id}; CREATE TABLE other (a); PRAGMA user_version = 5")
    before = tables(file)
    with pytest.raises(LedgerError, match="is not a ledger of this program") as raised:
        connect(file, create=create)
    assert "before 0.2" in raised.value.hint
    assert tables(file) == before
