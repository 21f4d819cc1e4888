"""The watchdog of the event loop: it ends the process if the event loop is blocked.

A stalled loop is restarted by `supervisor.py`. If it cannot be cancelled, or if the event loop itself is blocked, the
process exits, and the service manager restarts it. Nothing is lost: the state is in the ledger.
"""

import asyncio
import faulthandler
import os
import threading
from collections.abc import Callable
from typing import NoReturn

import structlog

from forwarder import log_stream, systemd
from forwarder.health import Health
from forwarder.heartbeat import Heartbeats
from forwarder.model import PROBLEM_STATES
from forwarder.systemd import ServiceManager

log = structlog.get_logger("app")

NOTIFY_INTERVAL_SECONDS = 1.0
"""The time between two notifications. It is well below half of any reasonable WatchdogSec."""

STEP_SECONDS, MAX_STALLED_STEPS = 5.0, 24
"""The length of a step, and the number of steps after which a blocked event loop ends the process.

A suspended process misses at most one step, so a suspension does not end it.
"""


def exit_process(reason: str) -> NoReturn:
    """Log the reason and the stacks of all threads, and end the process at once. The stacks hold no values.

    A stopped reader of standard error does not keep the process alive.
    """
    log.critical("exiting", reason=reason)
    log_stream.send(systemd.prioritized(_stacks(), "critical"))
    log_stream.finish()
    os._exit(1)


def _stacks() -> str:
    """Return the stacks of all threads, as far as they fit into a pipe. Return nothing if no descriptor is left.

    The stacks are not written to standard error directly, because that could block.
    """
    try:
        read_end, write_end = os.pipe()
    except OSError:  # no descriptor is left
        return ""
    os.set_blocking(write_end, False)
    faulthandler.dump_traceback(file=write_end)
    os.close(write_end)
    with open(read_end, encoding="utf-8", errors="replace") as stacks:  # noqa: PTH123  # a descriptor
        return stacks.read()


class Watchdog:
    """A watchdog of the event loop and the supervised loops.

    `run` notifies the service manager while no loop is stalled. A thread ends the process if the event loop has been
    blocked for MAX_STALLED_STEPS steps of `step` seconds.
    """

    def __init__(
        self, manager: ServiceManager, heartbeats: Heartbeats, health: Health, *, step: float = STEP_SECONDS
    ) -> None:
        self._manager = manager
        self._heartbeats = heartbeats
        self._health = health
        self._step = step
        self._ticks = 0
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Run the thread, and notify the service manager every second, until cancelled.

        While a loop is stalled, WATCHDOG=1 is not sent. The status line is sent when it changes.
        """
        self._stopped.clear()
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        last_status = ""
        try:
            while True:
                self._ticks += 1
                if not self._heartbeats.stalled():
                    self._manager.notify(systemd.WATCHDOG)
                if (now := status_text(self._health)) != last_status:
                    last_status = now
                    self._manager.notify(systemd.status(now))
                await asyncio.sleep(NOTIFY_INTERVAL_SECONDS)
        finally:
            self._stopped.set()

    def _watch(self) -> None:
        watch_ticks(lambda: self._ticks, self._stopped, self._step, exit_process)


def watch_ticks(ticks: Callable[[], int], stopped: threading.Event, step: float, end: Callable[[str], object]) -> None:
    """Check every `step` seconds, until `stopped` is set, that the number of ticks grows.

    Call `end` with a reason, and return, if it has not grown for MAX_STALLED_STEPS steps.
    """
    last_ticks, stalled_steps = ticks(), 0
    while not stopped.wait(step):
        now = ticks()
        stalled_steps = 0 if now != last_ticks else stalled_steps + 1
        last_ticks = now
        if stalled_steps == MAX_STALLED_STEPS:
            end(f"the event loop was blocked for {MAX_STALLED_STEPS * step:.0f} seconds")
            return


def status_text(health: Health) -> str:
    """Return one line: the components with a problem and its reason, or else the states of all components."""
    unhealthy = [
        f"{name} {component.state.value}: {component.reason}"
        for name, component in health.components.items()
        if component.state in PROBLEM_STATES
    ]
    states = [f"{name} {component.state.value}" for name, component in health.components.items()]
    return "; ".join(unhealthy or states)
