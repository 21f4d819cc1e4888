"""The program with a clock on which long waits end early: `python -m tests.e2e.hasty_program -c FILE run`."""

import asyncio
import sys

from forwarder import cli
from forwarder.cli import run
from forwarder.clock import SystemClock

MIN_LONG_WAIT_SECONDS, LONG_WAIT_SECONDS = 600, 0.2


class HastyClock(SystemClock):
    """A clock that waits a moment instead of ten minutes."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        return await super().wait(event, LONG_WAIT_SECONDS if seconds >= MIN_LONG_WAIT_SECONDS else seconds)


run.SystemClock = HastyClock  # type: ignore[misc]  # the composition of a variant of the program

if __name__ == "__main__":
    sys.exit(cli.main())
