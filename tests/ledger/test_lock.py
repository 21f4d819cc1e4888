"""The lock that allows one running process per ledger."""

import asyncio
import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from forwarder.errors import LedgerError, LedgerLocked, LedgerUnavailable
from forwarder.ledger import Counters, RunningLock, SqliteLedger
from forwarder.ledger.place import ledger_place
from forwarder.ledger.sqlite.lock import is_running
from forwarder.settings import ConfigSource, LocalSettings
from tests.virtual_clock import NOON

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


async def test_linked_ledger_has_one_lock(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "forwarder.db").symlink_to(tmp_path / "a" / "forwarder.db")
    places = [
        ledger_place(ConfigSource(tmp_path / name / "forwarder.toml", {}), LocalSettings()) for name in ("a", "b")
    ]
    async with places[0].run(lambda: NOON):
        with pytest.raises(LedgerLocked):
            async with places[1].run(lambda: NOON):
                pass


async def test_lock_keeps_its_content_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, a lost ledger would be replaced by a new one, which sends all events again."""
    ledger = tmp_path / "ledger.db"
    with RunningLock(ledger) as lock:
        async with SqliteLedger(ledger, create=True, lock=lock):
            pass

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with RunningLock(ledger):
        pass
    monkeypatch.undo()
    ledger.unlink()
    with pytest.raises(LedgerError, match="is gone"), RunningLock(ledger):
        pass


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
