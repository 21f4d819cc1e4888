"""The process of the loops: its signals, its background tasks, and the settings of the interpreter."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from forwarder.clock import Clock

READY_CHECK_INTERVAL_SECONDS = 0.1
"""The time between two calls of `is_ready`."""

THREAD_SWITCH_INTERVAL_SECONDS = 0.0005
"""The interpreter's thread switch interval, a tenth of the default.

The event loop releases the GIL at each send, signature and receive. With the default, it would wait that long for the
ledger's thread at each of them under load.
"""


async def tune_runtime(is_ready: Callable[[], bool], clock: Clock) -> None:
    """Tune the interpreter for the event loop: shorten thread switches, and freeze the objects made at startup.

    Modules and clients live as long as the process. The garbage collector would traverse them in each full collection,
    which would block the event loop for up to a tenth of a second. Later objects are collected as usual.
    """
    sys.setswitchinterval(THREAD_SWITCH_INTERVAL_SECONDS)
    while not is_ready():  # there is no event for it, and it takes about a second
        await clock.sleep(READY_CHECK_INTERVAL_SECONDS)
    gc.freeze()


@asynccontextmanager
async def background_tasks(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run tasks during a block, and cancel them at its end."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def handle_signals(*, stop: Callable[[], object], reload: Callable[[], object] | None = None) -> Iterator[None]:
    """Call `stop` on SIGTERM and SIGINT, and `reload` on SIGHUP, during a block."""
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
