"""The process under test: the real daemon, on a clock that runs faster and a ledger that may kill it.

    python -m tests.faults.process -c FILE run

It is composed as `forwarder run` composes it, but for these two parts, and for how soon a loop is taken to hang where
a test says so.
"""

from __future__ import annotations

import asyncio
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
from tests.faults.control import CONTROL, WORK, Control

LONGEST_COMMIT: Final = 0.002
"""Seconds. About what a commit takes: a kill `during` one comes at any moment of it."""


class KillingLedger:
    """Asks another ledger, and dies where it is told to. For what the points are called see `control.POINTS`."""

    def __init__(self, ledger: Ledger, control: Control) -> None:
        self._ledger = ledger
        self._control = control

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)
        return method if name == "release" else self._around(name, method)

    def _around(self, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **named: Any) -> Any:
            acts = list(acts_of(name, args, named))
            await self._hang_at("before", acts)
            self._die_at("before", acts)
            if self._dies_at("during", acts):
                _ = asyncio.ensure_future(method(*args, **named))  # noqa: RUF006 - the loop is about to die
                await asyncio.sleep(0)
                time.sleep(random.uniform(0, LONGEST_COMMIT))  # noqa: ASYNC251, S311 - as above
                self._die_at("during", acts)
            result = await method(*args, **named)
            if name != "claim" or result:
                await self._hang_at("after", acts)
                self._die_at("after", acts)
            return result

        return call

    async def _hang_at(self, when: str, acts: list[str]) -> None:
        if self._control.orders.stuck in {f"{act}:{when}" for act in acts}:
            await asyncio.Event().wait()

    def _dies_at(self, when: str, acts: list[str]) -> bool:
        return self._control.orders.point in {f"{act}:{when}" for act in acts}

    def _die_at(self, when: str, acts: list[str]) -> None:
        if self._dies_at(when, acts):
            self._control.die(self._control.orders.point)


def acts_of(name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Iterator[str]:
    """What a call of the ledger does. A record may make entries owed, move the checkpoint, or both; `checkpoint` itself
    only reads.
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
    if WORK in os.environ:
        app.max_work_seconds = lambda settings: float(os.environ[WORK])  # noqa: ARG005  # its name is part of the type
    clock = FastClock(sim_time(), lambda: timedelta(seconds=control.orders.jump))
    try:
        return asyncio.run(
            run(resolve_config(file), clock, lambda ledger: cast("Ledger", KillingLedger(ledger, control)))
        )
    except ForwarderError as error:  # as `forwarder.cli.main` does
        print_error(error)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
