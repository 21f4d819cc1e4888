"""`status` and `health` while the settings file is invalid, unreadable or missing."""

from __future__ import annotations

import pytest

from tests.harness.installation import Installation
from tests.harness.ports import free_port
from tests.harness.process import ForwarderProcess

BROKEN = "\n[event]\nsource = \n"
"""A section with a syntax error, at the end of a file."""


def break_file(installation: Installation) -> None:
    installation.write(installation.text() + BROKEN)


def wait_for_status(installation: Installation, daemon: ForwarderProcess) -> None:
    daemon.wait_until(lambda: installation.run_command("status", "--json").json()["last_poll_at"])


def test_status_finds_the_daemon_of_a_broken_file(installation: Installation) -> None:
    installation.change("ledger", url="sqlite:///other.db")
    installation.change("web", health_listen=f"127.0.0.1:{free_port()}")
    with installation.start() as daemon:
        wait_for_status(installation, daemon)
        break_file(installation)
        done = installation.run_command("status", "--json")
        text = installation.run_command("status").out
        assert daemon.stop() == 0
    assert (done.code, done.json()["running"], done.json()["pid"]) == (0, True, daemon.pid)
    assert (done.json()["enabled"], done.json()["live"]) == (True, True)
    assert f"switched on, running as process {daemon.pid}" in text
    assert "not valid TOML" in text


@pytest.mark.parametrize("content", ['[ledger\nurl = "sqlite:///other.db"\n', '[ledger]\nurl = "sqlite:///\n', None])
def test_status_without_a_known_ledger_is_unknown(installation: Installation, content: str | None) -> None:
    """The file does not name the ledger, or is missing."""
    if content is None:
        installation.settings_file.unlink()
    else:
        installation.write(content)
    done = installation.run_command("status")
    assert (done.code, done.out.startswith("the state is unknown, because")) == (78, True), done.output
    assert str(installation.settings_file) in done.err
    assert "recorded" not in done.out
    report = installation.run_command("status", "--json")
    assert (report.code, report.json()["running"], report.json()["enabled"]) == (78, None, None)
    assert str(installation.settings_file) in report.json()["settings_error"]


def test_status_of_a_broken_file_is_unknown_and_exits_78(installation: Installation) -> None:
    """The ledger is known, but was never used, and nothing runs on it."""
    installation.change("ledger", url="sqlite:///other.db")
    break_file(installation)
    done = installation.run_command("status")
    assert (done.code, done.out.splitlines()[0]) == (78, "unknown whether it is switched on, not running")
    assert "not valid TOML" in done.out


def test_health_finds_the_listener_of_a_broken_file(installation: Installation) -> None:
    installation.change("ledger", url="sqlite:///other.db")
    installation.change("web", health_listen=f"127.0.0.1:{free_port()}")
    with installation.start() as daemon:
        daemon.wait_for_log("health endpoints listening")
        break_file(installation)
        done = installation.run_command("health")
        assert daemon.stop() == 0
    assert (done.code, "responds with 200" in done.out) == (0, True), done.output
    assert installation.run_command("health").code == 78


def test_health_uses_the_lock_if_the_listener_is_unknown(installation: Installation) -> None:
    installation.change("web", listen=f"127.0.0.1:{free_port()}")
    with installation.start() as daemon:
        daemon.wait_for_log("web UI listening")
        installation.write(installation.text().replace("[web]", "[web"))
        done = installation.run_command("health")
        assert installation.run_command("health", "--ready").code == 78
        assert daemon.stop() == 0
    assert (done.code, "its listener is not known" in done.out) == (0, True), done.output


def test_unreadable_file_beside_a_used_ledger_is_no_switch(installation: Installation) -> None:
    """A file that is a folder cannot be read by any user."""
    installation.settings_file.unlink()
    installation.settings_file.mkdir()
    done = installation.run_command("status")
    assert (done.code, "switched" in done.out) == (78, False), done.output
