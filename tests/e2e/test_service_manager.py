"""What systemd hears of a daemon of `Type=notify-reload`, on the socket it listens on."""

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
    """`heard` is every line, in order."""

    def __init__(self, installation: Installation) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(installation.directory / "notify"))
        self._socket.settimeout(20)
        installation.env["NOTIFY_SOCKET"] = str(installation.directory / "notify")
        self.heard: list[str] = []

    def until(self, words: str) -> None:
        """Listen until a line begins so."""
        while not any(line.startswith(words) for line in self.next()):
            pass

    def next(self) -> list[str]:
        lines = self._socket.recv(4096).decode().splitlines()
        self.heard += lines
        return lines

    def has_received_nothing(self) -> bool:
        """For a process that has ended: what it said would be here."""
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


def test_it_is_ready_reloads_and_stops_in_the_manager_s_own_words(
    installation: Installation, alloy: FakeAlloy, bus: StrictEventBridge, manager: FakeServiceManager
) -> None:
    fail(alloy, "a")
    with installation.start() as daemon:
        manager.until("READY=1")
        manager.until("WATCHDOG=1")
        manager.until("STATUS=")
        daemon.wait_until(lambda: sent(bus) == ["a"])
        daemon.send(signal.SIGHUP)
        manager.until("RELOADING=1")
        manager.until("READY=1")
        assert any(line.startswith("MONOTONIC_USEC=") for line in manager.heard)
        daemon.send(signal.SIGTERM)
        manager.until("STOPPING=1")
        assert daemon.stop() == 0


def test_a_start_that_fails_is_never_ready(installation: Installation, manager: FakeServiceManager) -> None:
    installation.write("enabled = maybe\n")
    assert installation.run_command("run").code == 78
    assert manager.has_received_nothing()
