"""A ledger of every earlier version becomes one of today's as it is opened."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from hashlib import blake2b
from pathlib import Path

import pytest

from forwarder.errors import LedgerError
from forwarder.ledger import Counters, MinuteCounts, RunningLock, SqliteLedger
from forwarder.ledger.sqlite.connection import MIGRATIONS, VERSION, connect
from tests.clocks import NOON
from tests.ledger.ledger_files import counters, create_ledger
from tests.samples import FEED, entry

OPENS = """
import sys
from pathlib import Path
from forwarder.ledger.sqlite.connection import connect

connect(Path(sys.argv[1]), create=False)
"""


def made_as(file: Path, version: int) -> None:
    """What a forwarder of that version would have made, with one entry."""
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        for step in MIGRATIONS[:version]:
            db.executescript(step)
        db.execute("INSERT INTO feeds (workflow_id, user_id) VALUES (?, '')", (FEED.workflow_id,))
        db.execute(f"PRAGMA user_version = {version}")


def tables(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as db:
        return [row[0] for row in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")]


@pytest.mark.parametrize("version", range(1, VERSION))
def test_migration_keeps_the_content(tmp_path: Path, version: int) -> None:
    file, fresh = tmp_path / "old.db", tmp_path / "fresh.db"
    made_as(file, version)
    connect(fresh, create=True).close()

    async def goes_on() -> None:
        async with SqliteLedger(file) as ledger:
            assert await ledger.record(FEED, [entry("a")], now=NOON) == 1
            assert (await ledger.traffic(now=NOON)).minutes == [MinuteCounts(NOON, 1, 0)]

    asyncio.run(goes_on())
    assert counters(file) == Counters(recorded=1, pending=1)
    assert tables(file) == tables(fresh)


def test_migration_keeps_ids_known(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    made_as(file, 3)
    ids = [f"e-{number}" for number in range(100)]
    with closing(sqlite3.connect(file)) as db:
        for execution_id in ids:  # as they were kept then
            whole = blake2b(execution_id.encode(), digest_size=16).digest()
            key, fingerprint = (int.from_bytes(half, signed=True) for half in (whole[:8], whole[8:]))
            db.execute("INSERT INTO executions VALUES (?, ?, 1, NULL, 1, 0, 0)", (key, fingerprint))
        db.commit()

    async def known_ids() -> set[str]:
        async with SqliteLedger(file) as ledger:
            return await ledger.known_ids([*ids, "never seen"])

    assert asyncio.run(known_ids()) == set(ids)


def test_migration_by_several_processes_runs_once(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    made_as(file, 1)
    openers = [subprocess.Popen([sys.executable, "-c", OPENS, str(file)]) for _ in range(4)]  # noqa: S603  # ours
    assert [opener.wait(60) for opener in openers] == [0, 0, 0, 0]
    assert counters(file) == Counters()


def test_failed_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ledger.db"
    create_ledger(file, 1)
    before = tables(file)
    broken = (*MIGRATIONS, "CREATE TABLE more (a);\nCREATE TABLE more (a);\n")
    with monkeypatch.context() as patched:
        patched.setattr("forwarder.ledger.sqlite.connection.MIGRATIONS", broken)
        patched.setattr("forwarder.ledger.sqlite.connection.VERSION", len(broken))
        with pytest.raises(LedgerError):
            connect(file, create=False)
    assert tables(file) == before
    assert counters(file) == Counters(recorded=1, pending=1)


def test_migration_beside_older_forwarder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    made_as(file, 1)
    with RunningLock(file):
        with pytest.raises(LedgerError, match="an older forwarder runs on it"):
            connect(file, create=False)
        connect(file, create=True).close()  # as whoever holds the lock does
        connect(file, create=False).close()
