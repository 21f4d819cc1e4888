"""The notifications that a daemon of `Type=notify-reload` sends to systemd."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.harness import fail, sent
from tests.fakes.alloy import FakeAlloy
from tests.fakes.eventbridge import StrictEventBridge
from tests.harness.installation import Installation


class FakeServiceManager:
    """A notification socket. `received` has all lines in order."""

    def __init__(self, installation: Installation) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(installation.directory / "notify"))
        self._socket.settimeout(20)
        installation.env["NOTIFY_SOCKET"] = str(installation.directory / "notify")
        self.received: list[str] = []

    def wait_for(self, words: str) -> None:
        """Wait for a line that begins with `words`."""
        while not any(line.startswith(words) for line in self.next()):
            pass

    def next(self) -> list[str]:
        lines = self._socket.recv(4096).decode().splitlines()
        self.received += lines
        return lines

    def has_received_nothing(self) -> bool:
        """Return True if a process that has ended sent no line."""
        self._socket.setblocking(False)
        try:
            return not self.next()
        except BlockingIOError:
            return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(installation: Installation) -> Iterator[FakeServiceManager]:
    manager = FakeServiceManager(installation)
    yield manager
    manager.close()


def test_daemon_notifies_ready_reloading_and_stopping(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, manager: FakeServiceManager
) -> None:
    fail(alloy, "a")
    with installation.start() as daemon:
        manager.wait_for("READY=1")
        manager.wait_for("WATCHDOG=1")
        manager.wait_for("STATUS=")
        daemon.wait_until(lambda: sent(bus) == ["a"])
        daemon.send(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")
        assert any(line.startswith("MONOTONIC_USEC=") for line in manager.received)
        daemon.send(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        assert daemon.wait(within=60) == 0


def test_failed_start_sends_no_notification(installation: Installation, manager: FakeServiceManager) -> None:
    installation.write("enabled = maybe\n")
    assert installation.run_command("run").code == 78
    assert manager.has_received_nothing()
