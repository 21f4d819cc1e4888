"""`run --setup` with a clock on which long waits end early: `python -m tests.e2e.hasty_program -c FILE run --setup`."""

import asyncio
import sys

from forwarder.clock import SystemClock
from forwarder.daemon import run
from forwarder.settings import resolve_config

MIN_LONG_WAIT_SECONDS, LONG_WAIT_SECONDS = 600, 0.2


class HastyClock(SystemClock):
    """A clock that waits a moment instead of ten minutes."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        return await super().wait(event, LONG_WAIT_SECONDS if seconds >= MIN_LONG_WAIT_SECONDS else seconds)


if __name__ == "__main__":
    _, file, command, option = sys.argv[1:]
    if (command, option) != ("run", "--setup"):
        raise ValueError(option)
    sys.exit(asyncio.run(run(resolve_config(file), HastyClock(), setup=True)))
