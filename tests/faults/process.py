"""The process under test: the real daemon with an accelerated clock and a ledger that can kill it.

    python -m tests.faults.process -c FILE run

It has the components of `forwarder run` except these two. A test may also shorten the time after which a loop is
stalled.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

from forwarder import app
from forwarder.cli.output import print_error
from forwarder.daemon import run
from forwarder.errors import ForwarderError
from forwarder.ledger import Ledger
from forwarder.settings import resolve_config
from tests.faults.clock import FastClock, sim_time
from tests.faults.control import CONTROL, MAX_WORK, Control

MAX_COMMIT_SECONDS: Final = 0.002
"""About the duration of a commit: a kill `during` a commit comes at a random time of it."""


class KillingLedger:
    """A ledger that calls another one, and dies or hangs at the instructed point; see `control.POINTS`."""

    def __init__(self, ledger: Ledger, control: Control) -> None:
        self._ledger = ledger
        self._control = control

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)
        return self._around(name, method) if inspect.iscoroutinefunction(method) else method

    def _around(self, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **named: Any) -> Any:
            writes = list(writes_of(name, args, named))
            await self._hang_at("before", writes)
            self._die_at("before", writes)
            if self._dies_at("during", writes):
                _ = asyncio.ensure_future(method(*args, **named))  # noqa: RUF006 - the loop is about to die
                await asyncio.sleep(0)
                time.sleep(random.uniform(0, MAX_COMMIT_SECONDS))  # noqa: ASYNC251, S311 - as above
                self._die_at("during", writes)
            result = await method(*args, **named)
            if name != "claim" or result:
                await self._hang_at("after", writes)
                self._die_at("after", writes)
            return result

        return call

    async def _hang_at(self, when: str, writes: list[str]) -> None:
        if self._control.instructions.hang_point in {f"{write}:{when}" for write in writes}:
            await asyncio.Event().wait()

    def _dies_at(self, when: str, writes: list[str]) -> bool:
        return self._control.instructions.kill_point in {f"{write}:{when}" for write in writes}

    def _die_at(self, when: str, writes: list[str]) -> None:
        if self._dies_at(when, writes):
            self._control.kill_self(self._control.instructions.kill_point)


def writes_of(name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the writes of a call. `record` adds pending entries, moves the checkpoint, or both, and the
    method `checkpoint` only reads.
    """
    if name not in {"record", "checkpoint"}:
        yield name
    if name == "record" and args[1]:
        yield "record"
    if name == "record" and named.get("checkpoint") is not None:
        yield "checkpoint"


def main(arguments: list[str]) -> int:
    flag, file, command = arguments
    if (flag, command) != ("-c", "run"):
        raise SystemExit(__doc__)
    control = Control(Path(os.environ[CONTROL]))
    if MAX_WORK in os.environ:
        app.max_work_seconds = lambda settings: float(os.environ[MAX_WORK])  # noqa: ARG005  # its name is part of the type
    clock = FastClock(sim_time(), lambda: timedelta(seconds=control.instructions.jump))
    try:
        return asyncio.run(
            run(resolve_config(file), clock, lambda ledger: cast("Ledger", KillingLedger(ledger, control)))
        )
    except ForwarderError as error:  # as `forwarder.cli.main` does
        print_error(error)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
