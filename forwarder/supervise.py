"""How loops are run: beside each other, until a signal, and again where one dies or hangs."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog

from forwarder.backoff import Backoff
from forwarder.beats import Beats, where
from forwarder.clock import Clock
from forwarder.health import Health
from forwarder.machine_errors import machine_error
from forwarder.model import State
from forwarder.watchdog import end_process

log = structlog.get_logger("app")

CALM = 300.0
"""Seconds after which a loop that ran is taken for a healthy one, and its next death for the first."""

LOOK_EVERY = 5.0
"""Seconds between two looks whether a loop gets on."""

MOST_HANGS, FORGIVEN = 3, 3600.0
"""Hangs in a row after which starting a loop again is given up, and seconds without one that end the row."""

CANCELLING = 30.0
"""Seconds that a loop may take to end once it is told to."""

MADE_SOON = 0.1
"""Seconds between two looks whether everything is made."""

SLICE = 0.0005
"""Seconds, a tenth of what is usual, for which a thread that computes keeps the event loop from going on. It lets go
with every byte that it sends, signs or receives, so in a storm the ledger's thread would have it wait at each.
"""


class LoopHangs(Exception):
    """A loop did not get on, and was ended."""


async def keep_running(
    name: str, loop: Callable[[], Awaitable[None]], clock: Clock, health: Health, beats: Beats
) -> None:
    """Report a loop that dies or hangs, and start it again, ever more slowly."""
    backoff = Backoff(base=1.0, cap=60.0, floor=0.5)
    hangs = 0
    while True:
        began = clock.monotonic()
        mend = "it is started again by itself"
        try:
            await _watched(name, loop, beats)
        except Exception as error:
            if isinstance(error, LoopHangs):
                log.critical("loop hangs", loop=name, where=str(error))
                hangs = hangs + 1 if clock.monotonic() - began < FORGIVEN else 1
                if hangs == MOST_HANGS:
                    end_process(f"the loop {name} hangs again and again")
                why = "its loop did not get on"
            elif explained := machine_error(error):
                log.error("loop died", loop=name, why=explained.message, mend=explained.hint)  # noqa: TRY400  # the machine's fault
                why, mend = explained.message, explained.hint
            else:
                log.exception("loop died", loop=name)
                why = f"its loop died of {type(error).__name__}"
            health.report(name, State.FAILED, why, mend)
        else:
            return
        if clock.monotonic() - began > CALM:
            backoff.reset()
        await clock.sleep(backoff.next())
        health.report(name, State.STARTING)


async def _watched(name: str, loop: Callable[[], Awaitable[None]], beats: Beats) -> None:
    """A loop until it ends. Raises LoopHangs, and what the loop raises."""
    task = beats.begin(name, loop)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=LOOK_EVERY)
            if hanging := beats.late().get(name):
                at = ", ".join(where(each) for each in hanging)
                for each in hanging:  # of what the loop left behind as well: its next run would wait for that
                    each.cancel()
                raise LoopHangs(at)
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=CANCELLING)
        beats.end(name)
        if not task.done():
            end_process(f"the loop {name} does not end, so it cannot be started again")
    if task.cancelled():
        raise RuntimeError("cancelled from inside")
    task.result()


async def spare_the_event_loop(is_made: Callable[[], bool], clock: Clock) -> None:
    """What a process does for its event loop, the rest of it once everything that lasts is made.

    The modules and clients that are there by then stay. To look through them for what can be let go of, again and
    again, would stop the loop for most of a tenth of a second each time. What comes later may go.
    """
    sys.setswitchinterval(SLICE)
    while not is_made():  # nobody tells, and it is a matter of a second
        await clock.sleep(MADE_SOON)
    gc.freeze()


@asynccontextmanager
async def beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Tasks that run beside a block, and are cancelled at its end."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def on_signals(*, stop: Callable[[], object], reload: Callable[[], object] | None = None) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop}
    if reload is not None:
        handlers[signal.SIGHUP] = reload
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
