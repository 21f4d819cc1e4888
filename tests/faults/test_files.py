"""Damaged files: the ledger, its write-ahead log, and the settings."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import pytest

from tests.faults.environment import NOISE, Environment, numbered_ids
from tests.harness.installation import CommandResult
from tests.harness.process import ForwarderProcess


def stop_after(environment: Environment, *ids: str) -> None:
    """Record these failures, and stop the daemon."""
    with environment.installation.start() as daemon:
        environment.fail(*ids, size=2000)
        daemon.wait_until(environment.has(*ids))
        assert daemon.stop() == 0


def kill_after(environment: Environment, *ids: str) -> Path:
    """Record these failures, kill the daemon, and return the write-ahead log, which alone has the last commits."""
    with environment.installation.start() as daemon:
        environment.fail(*ids, size=2000)
        daemon.wait_until(lambda: environment.has(*ids)() and daemon.has_logged("events sent"))
        daemon.send(signal.SIGKILL)
        daemon.wait(within=5)
    wal = environment.installation.ledger_file.with_name(environment.installation.ledger_file.name + "-wal")
    assert wal.stat().st_size
    return wal


def require_refusal(environment: Environment) -> CommandResult:
    done = environment.installation.run_command("run")
    assert done.code == 1, done.out + done.err
    assert "Traceback" not in done.err
    assert "hint:" in done.err
    return done


def test_ledger_of_other_content_is_refused_with_a_hint(environment: Environment) -> None:
    stop_after(environment, "x")
    environment.installation.ledger_file.write_bytes(b"not a ledger at all " * 1000)
    assert "damaged" in require_refusal(environment).err


def test_ledger_with_damaged_pages_is_refused_with_a_hint(environment: Environment) -> None:
    stop_after(environment, *numbered_ids(30))
    content = bytearray(environment.installation.ledger_file.read_bytes())
    content[4096:-4096] = NOISE.randbytes(len(content) - 8192)
    environment.installation.ledger_file.write_bytes(content)
    assert "damaged" in require_refusal(environment).err


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_truncated_ledger_is_refused_with_a_hint(environment: Environment, kept: float) -> None:
    stop_after(environment, *numbered_ids(30))
    os.truncate(environment.installation.ledger_file, int(environment.installation.ledger_file.stat().st_size * kept))
    assert "damaged" in require_refusal(environment).err


def test_deleted_ledger_is_refused_and_sends_nothing_again(environment: Environment) -> None:
    """A new ledger would send old failures again."""
    stop_after(environment, "x")
    environment.installation.ledger_file.unlink()
    assert "is gone" in require_refusal(environment).err
    assert environment.sent() == ["x"]


@pytest.mark.parametrize("damage", ["cut short", "overwritten at its end", "gone"])
def test_damaged_write_ahead_log_loses_no_failure(environment: Environment, damage: str) -> None:
    ids = numbered_ids(10)
    wal = kill_after(environment, *ids)
    size = wal.stat().st_size
    match damage:
        case "cut short":
            os.truncate(wal, size * 2 // 3)
        case "gone":
            wal.unlink()
        case _:
            content = wal.read_bytes()
            wal.write_bytes(content[: size // 2] + NOISE.randbytes(size - size // 2))
    with environment.installation.start() as daemon:
        environment.fail("after")
        daemon.wait_until(lambda: environment.has("after", *ids)() or daemon.exit_code is not None)
        if daemon.exit_code is None:
            assert daemon.stop() == 0
            assert environment.installation.run_command("check").code == 0
        else:
            assert "hint:" in daemon.log


# Settings.


@pytest.mark.parametrize("how", ["rename", "in place", "symlink"])
def test_changed_settings_apply_with_each_write_method(
    environment: Environment, running: ForwarderProcess, how: str
) -> None:
    environment.installation.write(environment.installation.text(enabled=False), how)
    running.wait_until(lambda: running.has_logged("forwarding disabled"))
    environment.installation.write(environment.installation.text(), how)
    running.wait_until(lambda: running.has_logged("forwarding enabled"))


def test_switch_off_works_in_invalid_settings(environment: Environment, running: ForwarderProcess) -> None:
    """Somebody who switches off has an emergency, and does not want to correct another line first."""
    environment.installation.write(environment.installation.text(enabled=False) + '\n[sourse]\napi = "v9"\n')
    running.wait_until(lambda: running.has_logged("forwarding disabled"))
    environment.fail("x")
    environment.installation.write(environment.installation.text(enabled=False))
    running.wait_until(lambda: running.log.count('"component": "settings", "state": "HEALTHY"') == 2)
    assert not environment.has("x")()


def test_settings_are_read_again_after_a_passing_error(environment: Environment, running: ForwarderProcess) -> None:
    environment.fail("x")
    running.wait_until(environment.has("x"))  # the modules that the first poll and request import are read
    _, maximum = limits = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (4, maximum))
    environment.installation.change(enabled=False)
    running.wait_until(lambda: running.has_logged("invalid settings, keeping previous"))
    time.sleep(1)  # the rest of the change has settled
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, limits)
    running.wait_until(lambda: running.has_logged("forwarding disabled"))


@pytest.mark.parametrize(
    ("text", "how"),
    [
        pytest.param(text, how, marks=() if how == "rename" or text == "half" else pytest.mark.long)
        for text in ("", "[source\n", "half")
        for how in ("rename", "in place", "symlink")
    ],
)
def test_invalid_settings_change_nothing(
    environment: Environment, running: ForwarderProcess, text: str, how: str
) -> None:
    good = environment.installation.text()
    environment.installation.write(good[: len(good) // 2] if text == "half" else text, how)
    running.wait_until(lambda: running.has_logged("invalid settings, keeping previous"))
    environment.fail("x")
    running.wait_until(environment.has("x"))
    environment.installation.write(environment.installation.text(enabled=False), how)
    running.wait_until(lambda: running.has_logged("forwarding disabled"))
