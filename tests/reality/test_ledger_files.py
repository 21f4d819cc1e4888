"""A ledger whose files are removed, moved, replaced or truncated while the daemon runs.

The report: a clean-up job removed the state of a running shipper, which stayed healthy and lost its pending events.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.faults.environment import Environment, numbered_ids
from tests.harness.process import ForwarderProcess, eventually

SOON_SECONDS: Final = 10.0
CLOSED_ADDRESS: Final = "http://127.0.0.1:9"


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


DAMAGE: Final[dict[str, Callable[[Path], object]]] = {
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
}


def send_to(environment: Environment, address: str) -> None:
    environment.installation.settings["destination"]["endpoint_url"] = address
    environment.installation.write(environment.installation.text())


def recorded(environment: Environment) -> int:
    """Return the number of recorded entries by a command of the program, which proves more than another connection."""
    return int(json.loads(environment.installation.run_command("status", "--json").out)["counters"]["recorded"])


def failed(daemon: ForwarderProcess) -> Callable[[], bool]:
    return lambda: daemon.has_logged('"event": "component state changed"', '"component": "ledger"', '"state": "FAILED"')


def check_next_start_sends(environment: Environment, ids: list[str]) -> None:
    """Start with a bus that works, and check that each event is sent once."""
    send_to(environment, environment.bridge.url)
    with environment.installation.start() as daemon:
        daemon.wait_until(environment.has(*ids))
        assert daemon.stop() == 0
    assert environment.sent() == ids
    assert environment.installation.run_command("status").code == 0


CASES: Final = [(damage, "down") for damage in DAMAGE] + [("all removed", "up"), ("log removed", "up")]


@pytest.mark.parametrize(("damage", "bus"), CASES)
def test_ledger_damaged_while_running_is_failed(environment: Environment, damage: str, bus: str) -> None:
    """The reason is in the log, and `status` and `check` do not report a valid ledger."""
    if bus == "down":
        send_to(environment, CLOSED_ADDRESS)
    with environment.installation.start() as daemon:
        environment.fail(*numbered_ids(30), size=2000)
        daemon.wait_until(lambda: recorded(environment) >= 30)
        if bus == "up":
            daemon.wait_until(environment.has(*numbered_ids(30)))
        DAMAGE[damage](environment.installation.ledger_file)
        daemon.wait_until(failed(daemon), within=SOON_SECONDS)
        for command in ("status", "check"):
            done = environment.installation.run_command(command)
            assert done.code != 0, done.out + done.err
            assert "Traceback" not in done.err
        daemon.stop()


def test_emptied_shared_memory_loses_nothing(environment: Environment) -> None:
    """The file is checked before each transaction. If it is emptied during one, the system ends the process.

    SQLite maps this file, and access beyond its end is SIGBUS, which no program survives. A service manager then starts
    the forwarder again.
    """
    ids = numbered_ids(30)
    send_to(environment, CLOSED_ADDRESS)
    with environment.installation.start() as daemon:
        environment.fail(*ids, size=2000)
        daemon.wait_until(lambda: recorded(environment) >= 30)
        empty("-shm")(environment.installation.ledger_file)
        assert eventually(lambda: failed(daemon)() or not daemon.is_running, within=SOON_SECONDS)
        assert daemon.exit_code in (None, -signal.SIGBUS)
        status = environment.installation.run_command("status")
        assert status.code != 0 or "not running" in status.out, status.out
        if daemon.is_running:
            daemon.stop()
    check_next_start_sends(environment, ids)


def test_removed_ledger_is_restored_at_the_stop(environment: Environment) -> None:
    """No pending entry is lost, none is sent twice, and a second daemon creates no new ledger meanwhile."""
    ids = numbered_ids(30)
    send_to(environment, CLOSED_ADDRESS)
    with environment.installation.start() as daemon:
        environment.fail(*ids, size=2000)
        daemon.wait_until(lambda: recorded(environment) >= 30)
        remove_all(environment.installation.ledger_file)
        daemon.wait_until(failed(daemon), within=SOON_SECONDS)
        second = environment.installation.run_command("run")
        assert second.code == 75, second.err
        assert daemon.stop() == 0
    check_next_start_sends(environment, ids)


def test_ledger_that_is_moved_back_is_used_again(environment: Environment) -> None:
    with environment.installation.start() as daemon:
        environment.fail("a")
        daemon.wait_until(environment.has("a"))
        move_all(environment.installation.ledger_file)
        daemon.wait_until(failed(daemon), within=SOON_SECONDS)
        time.sleep(2)  # each loop uses the ledger meanwhile, and none ends
        assert not daemon.has_logged("loop failed")
        assert "Traceback" not in daemon.log  # the bus is not at fault, and there is no bug
        assert '"exception"' not in daemon.log
        assert not [line for line in daemon.log.splitlines() if "its loop failed" in line]
        for each in (environment.installation.ledger_file.parent / "away").iterdir():
            each.replace(environment.installation.ledger_file.parent / each.name)
        daemon.wait_until(lambda: daemon.has_logged('"component": "ledger"', '"state": "HEALTHY"'), within=SOON_SECONDS)
        environment.fail("b")
        daemon.wait_until(environment.has("b"))
        assert daemon.stop() == 0
    assert environment.sent() == ["a", "b"]


def test_older_copy_over_a_running_ledger_is_failed(environment: Environment) -> None:
    """`cp backup.db forwarder.db` keeps the inode, and lowers the change counter."""
    with environment.installation.start() as daemon:
        environment.fail("a")
        daemon.wait_until(environment.has("a"))
        assert daemon.stop() == 0
    backup = environment.installation.ledger_file.read_bytes()
    with environment.installation.start() as daemon:
        environment.fail(*numbered_ids(30), size=2000)
        daemon.wait_until(environment.has(*numbered_ids(30)))
        assert daemon.stop() == 0
    with environment.installation.start() as daemon:
        daemon.wait_for_log('"component": "ledger"', "HEALTHY")  # before, it would open the copy
        assert recorded(environment) == 31
        environment.installation.ledger_file.write_bytes(backup)
        daemon.wait_until(failed(daemon), within=SOON_SECONDS)
        assert daemon.has_logged("older copy") or daemon.has_logged("truncated")


def test_removed_lock_is_acquired_again(environment: Environment) -> None:
    with environment.installation.start() as daemon:
        environment.fail("a")
        daemon.wait_until(environment.has("a"))
        lock = part(environment.installation.ledger_file, ".lock")
        lock.unlink()
        daemon.wait_until(lock.exists, within=SOON_SECONDS)
        assert environment.installation.run_command("run").code == 75
        assert daemon.stop() == 0
