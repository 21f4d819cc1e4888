"""`ledger backup`: a copy of the ledger beside a running forwarder. It replaces no file; only its owner reads it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.harness import fail, numbered, publishing, sent
from tests.fakes import bus_faults
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import CommandResult, Installation

MEBIBYTE = 1024 * 1024


def on_ledger(installation: Installation, file: Path, *command: str) -> CommandResult:
    """Run a command on another ledger."""
    before = installation.settings.get("ledger", {}).get("url")
    installation.change("ledger", url=f"sqlite:///{file}")
    try:
        return installation.run_command(*command)
    finally:
        installation.change("ledger", url=before)


def counters_of(installation: Installation, file: Path) -> dict[str, int]:
    """Return the counters of a ledger, after `check` has audited them."""
    assert "✓ counters: balanced" in on_ledger(installation, file, "check").out
    return dict(on_ledger(installation, file, "status", "--json").json()["counters"])


def fill(installation: Installation, alloy: FakeAlloy, count: int = 1) -> None:
    fail(alloy, *numbered(count))
    assert installation.run_command("once").code == 0


def test_backup_during_a_storm_is_a_ledger_that_balances(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge
) -> None:
    installation.env["AWS_ENDPOINT_URL_STS"] = bus.url
    backup = installation.directory / "backup.db"
    ids = numbered(900)
    fail(alloy, *ids)
    with installation.start() as daemon:
        daemon.wait_until(lambda: bus.delivered)
        assert installation.run_command("ledger", "backup", str(backup)).output == f"made {backup}\n"
        daemon.wait_until(lambda: len(sent(bus)) == len(ids))
        assert daemon.stop() == 0
    assert sent(bus) == ids
    counters = counters_of(installation, backup)
    assert 0 < counters["recorded"] == counters["pending"] + counters["sent"] <= len(ids)
    assert counters_of(installation, installation.directory / "forwarder.db")["sent"] == len(ids)


def test_backup_continues_as_the_ledger(installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge) -> None:
    fill(installation, alloy)
    bus.always(publishing(bus_faults.throttled()))
    fail(alloy, "pending", ago=1)
    with installation.start() as daemon:
        daemon.wait_until(daemon.has_started)  # its lock names its own files by then
        daemon.wait_until(lambda: installation.counters()["pending"] == 1)
        assert installation.run_command("ledger", "backup", "backup.db").code == 0
        daemon.kill()
    bus.clear()
    assert on_ledger(installation, installation.directory / "backup.db", "once").code == 0
    assert sent(bus) == ["pending", "x000"]


def test_backup_is_one_file_that_only_its_owner_can_read(installation: Installation, alloy: FakeAlloy) -> None:
    fill(installation, alloy)
    (folder := installation.directory / "backups").mkdir()
    assert installation.run_command("ledger", "backup", "backups/backup.db").code == 0
    assert [(file.name, file.stat().st_mode & 0o777) for file in folder.iterdir()] == [("backup.db", 0o600)]


@pytest.mark.parametrize("target", ["file", "folder", "the ledger"])
def test_backup_refuses_an_existing_target(installation: Installation, alloy: FakeAlloy, target: str) -> None:
    fill(installation, alloy)
    file = installation.directory / ("forwarder.db" if target == "the ledger" else "backup.db")
    if target == "file":
        file.write_text("precious")
    elif target == "folder":
        file.mkdir()
    before = file.read_bytes() if file.is_file() else b""
    done = installation.run_command("ledger", "backup", str(file))
    assert done.code == 1
    assert f"{file} exists" in done.err
    assert "hint: " in done.err
    assert (file.read_bytes() if file.is_file() else b"") == before


def test_backup_refuses_a_missing_ledger_and_makes_none(installation: Installation) -> None:
    done = installation.run_command("ledger", "backup", "backup.db")
    assert done.code == 1
    assert "there is no ledger" in done.err
    assert not list(installation.directory.glob("*.db*"))


def test_backup_names_a_missing_folder(installation: Installation, alloy: FakeAlloy) -> None:
    fill(installation, alloy)
    done = installation.run_command("ledger", "backup", "nowhere/backup.db")
    assert done.code == 75
    assert "No such file or directory" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
def test_backup_on_a_full_disk_leaves_nothing_behind(installation: Installation, alloy: FakeAlloy) -> None:
    fill(installation, alloy)
    (mounted := installation.directory / "mounted").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mounted], check=True)  # noqa: S603, S607 - a program of the system
    try:
        (mounted / "rubbish").write_bytes(b"x" * (MEBIBYTE - 8192))
        done = installation.run_command("ledger", "backup", str(mounted / "backup.db"))
        assert done.code == 75, done.output
        assert "the backup" in done.err
        assert "free space on its disk" in done.err
        assert [file.name for file in mounted.iterdir()] == ["rubbish"]
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)  # noqa: S603, S607 - as above
    assert "Traceback" not in done.output
