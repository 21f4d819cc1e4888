"""A loop that fails or stalls is reported and restarted, and the other loops continue."""

import asyncio
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from forwarder import supervisor
from forwarder.clock import SystemClock
from forwarder.errors import LedgerError
from forwarder.health import Health
from forwarder.heartbeat import Heartbeats
from forwarder.model import State
from forwarder.supervisor import keep_running
from tests.virtual_clock import QuickClock


async def test_failed_loop_is_reported_and_restarted() -> None:
    clock, starts = QuickClock(), 0
    health = Health(clock.now)

    async def dies_twice() -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise OSError("secret words")

    await keep_running("source", dies_twice, clock, health, Heartbeats())
    assert starts == 3
    assert health.components["source"].state is State.STARTING
    assert len(clock.slept) == 2
    assert all(0.5 <= seconds <= 2 for seconds in clock.slept)


async def test_ledger_error_is_reported_for_the_ledger() -> None:
    """The loop that meets it is not at fault, and there is no bug to trace."""
    clock, starts = QuickClock(), 0
    health = Health(clock.now)
    health.healthy("bus")

    async def fails_once() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise LedgerError("the ledger is gone", hint="restore it")

    with capture_logs() as logs:
        await keep_running("bus", fails_once, clock, health, Heartbeats())
    assert health.components["bus"].state is State.HEALTHY
    ledger = health.components["ledger"]
    assert (ledger.state, ledger.reason, ledger.hint) == (State.FAILED, "the ledger is gone", "restore it")
    (line,) = [line for line in logs if line["event"] == "loop failed"]
    assert (line["reason"], "exc_info" in line) == ("the ledger is gone", False)


async def test_stalled_loop_is_reported_and_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "CHECK_INTERVAL_SECONDS", 0.1)
    clock, heartbeats = SystemClock(), Heartbeats()
    heartbeats.max_work_seconds = 0.1
    health = Health(clock.now)
    starts = ended = 0
    well = asyncio.Event()

    async def hangs_once() -> None:
        nonlocal starts, ended
        starts += 1
        try:
            if starts == 1:
                await asyncio.Event().wait()
            well.set()
        finally:
            ended += 1

    running = asyncio.create_task(keep_running("source", hangs_once, clock, health, heartbeats))
    async with asyncio.timeout(20):
        await health.changed.wait()
        assert health.components["source"].state is State.FAILED
        assert health.components["source"].reason == "its loop stalled"
        await well.wait()
        await running
    assert (starts, ended) == (2, 2)


async def test_cancelled_loop_is_not_restarted() -> None:
    ended = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    running = asyncio.create_task(keep_running("source", waits, SystemClock(), Health(SystemClock().now), Heartbeats()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


async def test_loop_cancelled_from_inside_is_restarted() -> None:
    clock, starts = QuickClock(), 0

    async def gives_up_once() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise asyncio.CancelledError

    await keep_running("source", gives_up_once, clock, Health(clock.now), Heartbeats())
    assert starts == 2


def test_repeatedly_stalled_loop_ends_the_process() -> None:
    program = """
import asyncio
import subprocess
import sys
from forwarder.heartbeat import Heartbeats
from forwarder.clock import SystemClock
from forwarder.errors import LedgerError
from forwarder.health import Health
from forwarder import supervisor
from forwarder.supervisor import keep_running

supervisor.CHECK_INTERVAL_SECONDS = 0.1

async def hangs():
    await asyncio.Event().wait()

async def main():
    heartbeats = Heartbeats()
    heartbeats.max_work_seconds = 0.01
    await keep_running("source", hangs, SystemClock(), Health(SystemClock().now), heartbeats)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)  # noqa: S603  # fixed command
    assert done.returncode == 1
    assert "the loop source stalls repeatedly" in done.stdout + done.stderr
