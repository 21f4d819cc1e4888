"""How loops are run: beside each other, until a signal, and again where one dies."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog

from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.health import Health
from forwarder.model import State

log = structlog.get_logger("app")

CALM = 300.0
"""Seconds after which a loop that ran is taken for a healthy one, and its next death for the first."""


async def keep_running(name: str, loop: Callable[[], Awaitable[None]], clock: Clock, health: Health) -> None:
    """Report a loop that dies, and start it again, ever more slowly."""
    backoff = Backoff(base=1.0, cap=60.0, floor=0.5)
    while True:
        began = clock.monotonic()
        try:
            await loop()
        except Exception as error:
            log.exception("loop died", loop=name)
            health.report(
                name,
                State.FAILED,
                f"its loop died of {type(error).__name__}",
                "it is started again by itself",
            )
        else:
            return
        if clock.monotonic() - began > CALM:
            backoff.reset()
        await clock.sleep(backoff.next())
        health.report(name, State.STARTING)


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
