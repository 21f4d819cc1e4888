"""`ledger backup`: a copy of the ledger beside a running forwarder. It replaces no file; only its owner reads it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.harness import CommandResult, Home, fail, numbered, publishing, sent
from tests.fakes import bus_faults
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge

MEBIBYTE = 1024 * 1024


def on_ledger(home: Home, file: Path, *command: str) -> CommandResult:
    """Run a command on another ledger."""
    before = home.settings.get("ledger", {}).get("url")
    home.change("ledger", url=f"sqlite:///{file}")
    try:
        return home(*command)
    finally:
        home.change("ledger", url=before)


def counters_of(home: Home, file: Path) -> dict[str, int]:
    """Return the counters of a ledger, after `check` has audited them."""
    assert "✓ counters: balanced" in on_ledger(home, file, "check").out
    return dict(on_ledger(home, file, "status", "--json").json()["counters"])


def fill(home: Home, alloy: FakeAlloy, count: int = 1) -> None:
    fail(alloy, *numbered(count))
    assert home("once").code == 0


def test_backup_during_a_storm_is_a_ledger_that_balances(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    home.env["AWS_ENDPOINT_URL_STS"] = bus.url
    backup = home.place / "backup.db"
    ids = numbered(900)
    fail(alloy, *ids)
    with home.daemon() as daemon:
        daemon.until(lambda: bus.delivered)
        assert home("ledger", "backup", str(backup)).output == f"made {backup}\n"
        daemon.until(lambda: len(sent(bus)) == len(ids))
        assert daemon.stop() == 0
    assert sent(bus) == ids
    counters = counters_of(home, backup)
    assert 0 < counters["recorded"] == counters["pending"] + counters["sent"] <= len(ids)
    assert counters_of(home, home.place / "forwarder.db")["sent"] == len(ids)


def test_backup_continues_as_the_ledger(home: Home, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fill(home, alloy)
    bus.always(publishing(bus_faults.throttled()))
    fail(alloy, "pending", ago=1)
    with home.daemon() as daemon:
        daemon.until(lambda: home.counters()["pending"] == 1)
        assert home("ledger", "backup", "backup.db").code == 0
        daemon.kill()
    bus.clear()
    assert on_ledger(home, home.place / "backup.db", "once").code == 0
    assert sent(bus) == ["pending", "x000"]


def test_backup_is_one_file_that_only_its_owner_can_read(home: Home, alloy: FakeAlloy) -> None:
    fill(home, alloy)
    (folder := home.place / "backups").mkdir()
    assert home("ledger", "backup", "backups/backup.db").code == 0
    assert [(file.name, file.stat().st_mode & 0o777) for file in folder.iterdir()] == [("backup.db", 0o600)]


@pytest.mark.parametrize("target", ["file", "folder", "the ledger"])
def test_backup_refuses_an_existing_target(home: Home, alloy: FakeAlloy, target: str) -> None:
    fill(home, alloy)
    file = home.place / ("forwarder.db" if target == "the ledger" else "backup.db")
    if target == "file":
        file.write_text("precious")
    elif target == "folder":
        file.mkdir()
    before = file.read_bytes() if file.is_file() else b""
    done = home("ledger", "backup", str(file))
    assert done.code == 1
    assert f"{file} exists" in done.err
    assert "hint: " in done.err
    assert (file.read_bytes() if file.is_file() else b"") == before


def test_backup_refuses_a_missing_ledger_and_makes_none(home: Home) -> None:
    done = home("ledger", "backup", "backup.db")
    assert done.code == 1
    assert "there is no ledger" in done.err
    assert not list(home.place.glob("*.db*"))


def test_backup_names_a_missing_folder(home: Home, alloy: FakeAlloy) -> None:
    fill(home, alloy)
    done = home("ledger", "backup", "nowhere/backup.db")
    assert done.code == 75
    assert "No such file or directory" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
def test_backup_on_a_full_disk_leaves_nothing_behind(home: Home, alloy: FakeAlloy) -> None:
    fill(home, alloy)
    (mounted := home.place / "mounted").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mounted], check=True)  # noqa: S603, S607 - a program of the system
    try:
        (mounted / "rubbish").write_bytes(b"x" * (MEBIBYTE - 8192))
        done = home("ledger", "backup", str(mounted / "backup.db"))
        assert done.code == 75, done.output
        assert "make room on its disk" in done.err
        assert [file.name for file in mounted.iterdir()] == ["rubbish"]
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)  # noqa: S603, S607 - as above
    assert "Traceback" not in done.output
