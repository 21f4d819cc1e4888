"""A ledger whose files are removed, moved, replaced or truncated while the daemon runs.

The report: a clean-up job removed the state of a shipper that ran on, healthy, and lost what was pending at its stop.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.faults.environment import Stage, numbered
from tests.faults.installation import Daemon

SOON: Final = 10.0
NOBODY_LISTENS: Final = "http://127.0.0.1:9"


def part(ledger: Path, ending: str) -> Path:
    return ledger.with_name(ledger.name + ending)


def remove_all(ledger: Path) -> None:
    for each in ledger.parent.glob(f"{ledger.name}*"):
        each.unlink()


def move_all(ledger: Path) -> None:
    (away := ledger.parent / "away").mkdir()
    for each in ledger.parent.glob(f"{ledger.name}*"):
        each.rename(away / each.name)


def replace_by_rename(ledger: Path) -> None:
    copy = ledger.with_name("copy")
    shutil.copyfile(ledger, copy)
    copy.rename(ledger)


def empty(ending: str) -> Callable[[Path], None]:
    return lambda ledger: os.truncate(part(ledger, ending), 0)


def cut(ledger: Path) -> None:
    os.truncate(ledger, ledger.stat().st_size // 2)


HARM: Final[dict[str, Callable[[Path], object]]] = {
    "all removed": remove_all,
    "database removed": lambda ledger: ledger.unlink(),
    "log removed": lambda ledger: part(ledger, "-wal").unlink(),
    "shared memory removed": lambda ledger: part(ledger, "-shm").unlink(),
    "all moved": move_all,
    "database moved": lambda ledger: ledger.rename(ledger.with_name("moved")),
    "replaced by rename": replace_by_rename,
    "database emptied": empty(""),
    "database cut": cut,
    "log emptied": empty("-wal"),
    "shared memory emptied": empty("-shm"),
}


def send_to(stage: Stage, address: str) -> None:
    stage.home.settings["destination"]["endpoint_url"] = address
    stage.home.write(stage.home.text())


def recorded(stage: Stage) -> int:
    """Read by a command of the program: another connection of this process would disturb nothing, but prove less."""
    return int(json.loads(stage.home.run_command("status", "--json").stdout)["counters"]["recorded"])


def failed(daemon: Daemon) -> Callable[[], bool]:
    return lambda: daemon.says('"event": "component state changed"', '"component": "ledger"', '"state": "FAILED"')


CASES: Final = [(harm, "down") for harm in HARM] + [("all removed", "up"), ("log removed", "up")]


@pytest.mark.parametrize(("harm", "bus"), CASES)
def test_ledger_harmed_while_running_is_failed(stage: Stage, harm: str, bus: str) -> None:
    """The reason is in the log, and `status` and `check` do not report a sound ledger."""
    if bus == "down":
        send_to(stage, NOBODY_LISTENS)
    with stage.home.start() as daemon:
        stage.fail(*numbered(30), size=2000)
        daemon.until(lambda: recorded(stage) >= 30)
        if bus == "up":
            daemon.until(stage.has(*numbered(30)))
        HARM[harm](stage.home.ledger)
        daemon.until(failed(daemon), within=SOON)
        for command in ("status", "check"):
            done = stage.home.run_command(command)
            assert done.returncode != 0, done.stdout + done.stderr
            assert "Traceback" not in done.stderr
        daemon.stop()


def test_removed_ledger_is_restored_at_the_stop(stage: Stage) -> None:
    """Nothing pending is lost, nothing is sent twice, and no second daemon begins a new ledger meanwhile."""
    ids = numbered(30)
    send_to(stage, NOBODY_LISTENS)
    with stage.home.start() as daemon:
        stage.fail(*ids, size=2000)
        daemon.until(lambda: recorded(stage) >= 30)
        remove_all(stage.home.ledger)
        daemon.until(failed(daemon), within=SOON)
        second = stage.home.run_command("run")
        assert second.returncode == 75, second.stderr
        assert daemon.stop() == 0
    send_to(stage, stage.bridge.url)
    with stage.home.start() as daemon:
        daemon.until(stage.has(*ids))
        assert daemon.stop() == 0
    assert stage.sent() == ids
    assert stage.home.run_command("status").returncode == 0


def test_moved_ledger_that_is_moved_back_is_used_again(stage: Stage) -> None:
    with stage.home.start() as daemon:
        stage.fail("a")
        daemon.until(stage.has("a"))
        move_all(stage.home.ledger)
        daemon.until(failed(daemon), within=SOON)
        for each in (stage.home.ledger.parent / "away").iterdir():
            each.replace(stage.home.ledger.parent / each.name)
        daemon.until(lambda: daemon.says('"component": "ledger"', '"state": "HEALTHY"'), within=SOON)
        stage.fail("b")
        daemon.until(stage.has("b"))
        assert daemon.stop() == 0
    assert stage.sent() == ["a", "b"]


def test_older_copy_over_a_running_ledger_is_failed(stage: Stage) -> None:
    """`cp backup.db forwarder.db` keeps the inode; the change counter of the copy is lower."""
    with stage.home.start() as daemon:
        stage.fail("a")
        daemon.until(stage.has("a"))
        assert daemon.stop() == 0
    backup = stage.home.ledger.read_bytes()
    with stage.home.start() as daemon:
        stage.fail(*numbered(30), size=2000)
        daemon.until(stage.has(*numbered(30)))
        assert daemon.stop() == 0
    with stage.home.start() as daemon:
        daemon.until(lambda: recorded(stage) >= 31)
        stage.home.ledger.write_bytes(backup)
        daemon.until(failed(daemon), within=SOON)
        assert daemon.says("older copy") or daemon.says("truncated")


def test_removed_lock_is_acquired_again(stage: Stage) -> None:
    with stage.home.start() as daemon:
        stage.fail("a")
        daemon.until(stage.has("a"))
        lock = part(stage.home.ledger, ".lock")
        lock.unlink()
        daemon.until(lock.exists, within=SOON)
        assert stage.home.run_command("run").returncode == 75
        assert daemon.stop() == 0
