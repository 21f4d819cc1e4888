"""What sees to it that the process never lives on doing nothing.

A loop that hangs is started again, see `supervise.py`. Where that cannot be, since it does not end or since the event
loop itself stands still, the process ends, and whoever runs it starts it anew: the ledger tells where to go on.
"""

import asyncio
import faulthandler
import os
import threading
from collections.abc import Callable
from typing import NoReturn

import structlog

from forwarder import log_stream, notify
from forwarder.beats import Beats
from forwarder.health import Health
from forwarder.model import State
from forwarder.notify import ServiceManager

log = structlog.get_logger("app")

FEED_EVERY = 1.0
"""Seconds: well below half of any WatchdogSec that makes sense."""

STEP, STEPS = 5.0, 24
"""A stand-still is counted in steps of seconds, for a process that was stopped and goes on missed one step at most."""


def end_process(why: str) -> NoReturn:
    """End the process at once, with the stacks of all threads on standard error: names and lines, never a value.

    A reader of standard error that has stopped does not keep the process alive.
    """
    log.critical("the process ends", why=why)
    log_stream.send(_stacks())
    log_stream.finish()
    os._exit(1)


def _stacks() -> str:
    """Return the stacks of all threads, as far as they fit into a pipe: a write to standard error could wait."""
    try:
        reads, writes = os.pipe()
    except OSError:  # no descriptor is left
        return ""
    os.set_blocking(writes, False)
    faulthandler.dump_traceback(file=writes)
    os.close(writes)
    with open(reads, encoding="utf-8", errors="replace") as stacks:  # noqa: PTH123  # a descriptor
        return stacks.read()


class Watchdog:
    """Fed by the event loop. `step` is how long its thread waits between two looks, in seconds."""

    def __init__(self, manager: ServiceManager, beats: Beats, health: Health, *, step: float = STEP) -> None:
        self._manager = manager
        self._beats = beats
        self._health = health
        self._step = step
        self._turns = 0
        self._over = threading.Event()

    async def run(self) -> None:
        """Until cancelled."""
        self._over.clear()
        thread = threading.Thread(target=self._look_on, name="watchdog", daemon=True)
        thread.start()
        told = ""
        try:
            while True:
                self._turns += 1
                if not self._beats.late():
                    self._manager.tell(notify.WATCHDOG)
                if (now := in_words(self._health)) != told:
                    told = now
                    self._manager.tell(notify.status(now))
                await asyncio.sleep(FEED_EVERY)
        finally:
            self._over.set()

    def _look_on(self) -> None:
        watch(lambda: self._turns, self._over, self._step, end_process)


def watch(turns: Callable[[], int], over: threading.Event, step: float, end: Callable[[str], object]) -> None:
    """Look at a number that grows as long as the event loop turns, until `over`; `end` it when it does not."""
    seen, still = turns(), 0
    while not over.wait(step):
        now = turns()
        still = 0 if now != seen else still + 1
        seen = now
        if still == STEPS:
            end(f"the event loop stood still for {STEPS * step:.0f} seconds")
            return


def in_words(health: Health) -> str:
    """How the parts do, in a line: those that are not well, with the reason."""
    ill = [
        f"{name} {part.state.value}: {part.why}"
        for name, part in health.parts.items()
        if part.state in (State.FAILED, State.DEGRADED)
    ]
    states = [f"{name} {part.state.value}" for name, part in health.parts.items()]
    return "; ".join(ill or states)
