"""Keeping a loop going: one that dies is reported and started again, ever more slowly."""

from collections.abc import Awaitable, Callable

import structlog

from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.health import Health
from forwarder.model import State

log = structlog.get_logger("app")

CALM = 300.0
"""Seconds after which a loop that ran is taken for a healthy one, and its next death for the first."""


async def keep_running(name: str, loop: Callable[[], Awaitable[None]], clock: Clock, health: Health) -> None:
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
