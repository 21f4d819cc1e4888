"""The watchdog ends a blocked process, and notifies the service manager of its state."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forwarder import systemd
from forwarder.health import Health
from forwarder.heartbeat import Heartbeats
from forwarder.model import State
from forwarder.systemd import ServiceManager
from forwarder.watchdog import MAX_STALLED_STEPS, Watchdog, status_text, watch_ticks
from tests.virtual_clock import QuickClock


class Listening:
    """The service manager's end of the socket."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound

    def next(self) -> str:
        return self._socket.recv(4096).decode()


@contextmanager
def listening(address: str) -> Iterator[Listening]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        bound.settimeout(10)
        yield Listening(bound)


def test_notify_reaches_path_and_abstract_sockets(tmp_path: Path) -> None:
    for address in (str(tmp_path / "notify"), f"@forwarder-test-{os.getpid()}"):
        with listening(address) as manager:
            ServiceManager.of({"NOTIFY_SOCKET": address}).notify(systemd.READY, systemd.status("all\nis well"))
            assert manager.next() == "READY=1\nSTATUS=all is well"


def test_notify_without_listener_does_not_fail(tmp_path: Path) -> None:
    ServiceManager.of({}).notify(systemd.READY)
    ServiceManager(str(tmp_path / "nobody")).notify(systemd.READY)


def test_status_text_names_unhealthy_components() -> None:
    health = Health(QuickClock().now)
    health.healthy("source")
    health.healthy("bus")
    assert status_text(health) == "source HEALTHY; bus HEALTHY"
    health.report("bus", State.FAILED, "the bus is missing")
    assert status_text(health) == "bus FAILED: the bus is missing"


async def test_watchdog_is_notified_only_while_no_loop_is_stalled(tmp_path: Path) -> None:
    now = 0.0
    heartbeats, health = Heartbeats(lambda: now), Health(QuickClock().now)
    address = str(tmp_path / "notify")

    async def heard(manager: Listening, words: str) -> None:
        while await asyncio.to_thread(manager.next) != words:
            pass

    with listening(address) as manager:
        watchdog_task = asyncio.create_task(Watchdog(ServiceManager(address), heartbeats, health).run())
        await heard(manager, "WATCHDOG=1")
        hanging = heartbeats.start("source", asyncio.Event().wait)  # type: ignore[arg-type]  # the result is not used
        await asyncio.sleep(0)
        for _ in range(200):
            now += 5
            heartbeats.stalled()
        assert list(heartbeats.stalled()) == ["source"]
        health.report("source", State.FAILED, "hangs")
        await heard(manager, "STATUS=source FAILED: hangs")
        # The watchdog may have been notified before the status changed, but not after it.
        hanging.cancel()
        await asyncio.wait({hanging})
        await heard(manager, "WATCHDOG=1")
        watchdog_task.cancel()
        await asyncio.wait({watchdog_task})


def test_tick_resets_the_count_of_stalled_steps() -> None:
    stopped, ended = threading.Event(), list[str]()
    ticks = iter([0] * MAX_STALLED_STEPS + [1] * MAX_STALLED_STEPS + [2] * (MAX_STALLED_STEPS + 1))
    watch_ticks(lambda: next(ticks), stopped, 0.0, ended.append)
    assert len(ended) == 1
    assert list(ticks) == []


def test_blocked_event_loop_ends_the_process_with_stacks() -> None:
    program = """
import asyncio, time
from forwarder.heartbeat import Heartbeats
from forwarder.clock import SystemClock
from forwarder.health import Health
from forwarder.systemd import ServiceManager
from forwarder.watchdog import Watchdog

async def main():
    dog = asyncio.create_task(Watchdog(ServiceManager(), Heartbeats(), Health(SystemClock().now), step=0.02).run())
    await asyncio.sleep(0.1)
    secret = "canary-value"
    time.sleep(60)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)  # noqa: S603  # ours
    assert done.returncode == 1
    assert "the event loop was blocked" in done.stdout + done.stderr
    assert "in main" in done.stderr
    assert "canary-value" not in done.stderr
