"""Files that are not whole when the daemon looks at them: the ledger, its write-ahead log, the settings."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.faults.environment import NOISE, Stage, numbered
from tests.faults.installation import Daemon


def stopped_after(stage: Stage, *ids: str) -> None:
    """A ledger that knows these, closed in good order."""
    with stage.home.start() as daemon:
        stage.fail(*ids, size=2000)
        daemon.until(stage.has(*ids))
        assert daemon.stop() == 0


def killed_after(stage: Stage, *ids: str) -> Path:
    """A ledger whose last commits are in its write-ahead log only."""
    with stage.home.start() as daemon:
        stage.fail(*ids, size=2000)
        daemon.until(lambda: stage.has(*ids)() and daemon.says("events sent"))
        daemon.send(signal.SIGKILL)
        daemon.wait(within=5)
    wal = stage.home.ledger.with_name(stage.home.ledger.name + "-wal")
    assert wal.stat().st_size
    return wal


def refused(stage: Stage) -> subprocess.CompletedProcess[str]:
    done = stage.home.run_command("run")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr
    return done


def test_a_ledger_that_is_no_ledger_stops_the_start_with_a_hint(stage: Stage) -> None:
    stopped_after(stage, "x")
    stage.home.ledger.write_bytes(b"not a ledger at all " * 1000)
    assert "damaged" in refused(stage).stderr


def test_a_ledger_with_damaged_pages_stops_the_start_with_a_hint(stage: Stage) -> None:
    stopped_after(stage, *numbered(30))
    content = bytearray(stage.home.ledger.read_bytes())
    content[4096:-4096] = NOISE.randbytes(len(content) - 8192)
    stage.home.ledger.write_bytes(content)
    assert "damaged" in refused(stage).stderr


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_ledger_that_was_cut_short_stops_the_start_with_a_hint(stage: Stage, kept: float) -> None:
    stopped_after(stage, *numbered(30))
    os.truncate(stage.home.ledger, int(stage.home.ledger.stat().st_size * kept))
    assert "damaged" in refused(stage).stderr


def test_a_ledger_that_is_gone_stops_the_start_rather_than_send_history_again(stage: Stage) -> None:
    stopped_after(stage, "x")
    stage.home.ledger.unlink()
    assert "is gone" in refused(stage).stderr
    assert stage.sent() == ["x"]


@pytest.mark.parametrize("damage", ["cut short", "overwritten at its end", "gone"])
def test_a_write_ahead_log_that_is_not_whole_loses_no_failure(stage: Stage, damage: str) -> None:
    ids = numbered(10)
    wal = killed_after(stage, *ids)
    size = wal.stat().st_size
    match damage:
        case "cut short":
            os.truncate(wal, size * 2 // 3)
        case "gone":
            wal.unlink()
        case _:
            content = wal.read_bytes()
            wal.write_bytes(content[: size // 2] + NOISE.randbytes(size - size // 2))
    with stage.home.start() as daemon:
        stage.fail("after")
        daemon.until(lambda: stage.has("after", *ids)() or daemon.ended is not None)
        if daemon.ended is None:
            assert daemon.stop() == 0
            assert stage.home.run_command("check").returncode == 0
        else:
            assert "hint:" in daemon.log.read_text()


# Settings.


@pytest.mark.parametrize("how", ["rename", "in place", "symlink"])
def test_settings_are_taken_up_however_they_are_written(stage: Stage, running: Daemon, how: str) -> None:
    stage.home.write(stage.home.text(enabled=False), how)
    running.until(lambda: running.says("forwarding disabled"))
    stage.home.write(stage.home.text(), how)
    running.until(lambda: running.says("forwarding enabled"))


@pytest.mark.parametrize("how", ["rename", "in place", "symlink"])
@pytest.mark.parametrize("text", ["", "[source\n", "half"])
def test_settings_that_are_none_change_nothing(stage: Stage, running: Daemon, text: str, how: str) -> None:
    good = stage.home.text()
    stage.home.write(good[: len(good) // 2] if text == "half" else text, how)
    running.until(lambda: running.says("invalid settings, keeping previous"))
    stage.fail("x")
    running.until(stage.has("x"))
    stage.home.write(stage.home.text(enabled=False), how)
    running.until(lambda: running.says("forwarding disabled"))
