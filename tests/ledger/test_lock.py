"""The lock that allows one running process per ledger."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from forwarder.errors import LedgerLocked, LedgerUnavailable
from forwarder.ledger import Counters, RunningLock, SqliteLedger
from forwarder.ledger.sqlite.lock import is_running

HOLDER = """
import sys
from pathlib import Path
from forwarder.ledger import RunningLock
with RunningLock(Path(sys.argv[1])):
    print(1, flush=True)
    input()
"""


def test_lock_held_by_other_process_names_it(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    assert not is_running(ledger)
    command = [sys.executable, "-c", HOLDER, str(ledger)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:  # noqa: S603
        assert first.stdout is not None
        first.stdout.readline()
        assert is_running(ledger)
        with pytest.raises(LedgerLocked, match=str(first.pid)) as raised, RunningLock(ledger):
            pass
        assert raised.value.exit_code == 75
        assert is_running(ledger)
        first.kill()
    assert not is_running(ledger)
    with RunningLock(ledger):
        assert is_running(ledger)


def test_lock_is_released_at_exit(tmp_path: Path) -> None:
    for _ in range(2):
        with RunningLock(tmp_path / "ledger.db"):
            pass


def test_is_running_does_not_acquire_the_lock(tmp_path: Path) -> None:
    with RunningLock(tmp_path / "ledger.db"):
        pass
    for _ in range(3):
        assert not is_running(tmp_path / "ledger.db")
    with RunningLock(tmp_path / "ledger.db"):
        pass


def test_lock_in_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable), RunningLock(tmp_path / "none" / "ledger.db"):
        pass


def test_command_waits_while_a_forwarder_creates_the_ledger(tmp_path: Path) -> None:
    """`status` beside a forwarder that has just started must not report its ledger as incomplete."""
    file = tmp_path / "ledger.db"

    async def create() -> None:
        async with SqliteLedger(file, create=True, lock=lock):
            pass

    async def read() -> Counters:
        async with SqliteLedger(file) as ledger:
            return await ledger.counters()

    with RunningLock(file) as lock:
        file.touch()
        later = threading.Timer(0.3, asyncio.run, [create()])
        later.start()
        assert asyncio.run(read()) == Counters()
        later.join()
