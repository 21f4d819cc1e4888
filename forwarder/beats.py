"""Whether the loops get on. Each one asks its clock for the time, or waits on it, at every turn: who has not for longer
than any work of ours takes, and is not waiting, hangs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from forwarder.clock import Clock

LONGEST_WORK = 600.0
"""Seconds, unless told otherwise, between two signs of life of a task: a request with all its patience, and more."""

STOPPED = 10.0
"""Seconds between two looks from which it is the process that was stopped, not a loop."""

_loop: ContextVar[str] = ContextVar("loop")


@dataclass(slots=True)
class _Loop:
    root: asyncio.Task[Any]
    due: dict[asyncio.Task[Any], float] = field(default_factory=dict)


class Beats:
    """When each task of each loop has to be heard of again.

    Real seconds, whatever clock the loops go by: it is the machine's work that is watched.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._loops: dict[str, _Loop] = {}
        self._looked_at = monotonic()
        self.longest_work = LONGEST_WORK

    def begin(self, name: str, loop: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run a loop as a task; those that it starts belong to it."""

        async def named() -> None:
            _loop.set(name)
            self.heard_of()
            await loop()

        task = asyncio.create_task(named(), name=name)
        self._loops[name] = _Loop(task)
        return task

    def end(self, name: str) -> None:
        """It is not expected to get on any more."""
        self._loops.pop(name, None)

    def heard_of(self, wait: float = 0.0) -> None:
        """The task that runs now gets on, and will again after `wait` seconds at the latest, and some work."""
        loop = self._loops.get(_loop.get(""))
        if loop is not None and (task := _running()) is not None:
            loop.due[task] = self._monotonic() + wait + self.longest_work

    def late(self) -> dict[str, list[asyncio.Task[Any]]]:
        """The loops that hang, and their tasks that do.

        The task that a loop began with may wait for those that it started, for as long as they get on.
        """
        self._make_up_for_a_stop()
        now = self._monotonic()
        late: dict[str, list[asyncio.Task[Any]]] = {}
        for name, loop in self._loops.items():
            loop.due = {task: due for task, due in loop.due.items() if not task.done()}
            others = loop.due.keys() - {loop.root}
            hang = [task for task, due in loop.due.items() if due < now and not (task is loop.root and others)]
            if hang:
                late[name] = hang
        return late

    def _make_up_for_a_stop(self) -> None:
        now = self._monotonic()
        if (stopped := now - self._looked_at) > STOPPED:
            for loop in self._loops.values():
                loop.due = {task: due + stopped for task, due in loop.due.items()}
        self._looked_at = now


class WatchedClock:
    """A clock that takes every question for a sign of life, so that no loop can forget to give one."""

    def __init__(self, clock: Clock, beats: Beats) -> None:
        self._clock = clock
        self._beats = beats

    def now(self) -> datetime:
        self._beats.heard_of()
        return self._clock.now()

    def monotonic(self) -> float:
        self._beats.heard_of()
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        self._beats.heard_of(seconds)
        await self._clock.sleep(seconds)
        self._beats.heard_of()

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        self._beats.heard_of(seconds)
        is_set = await self._clock.wait(event, seconds)
        self._beats.heard_of()
        return is_set


def _running() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # a thread that does a part of a task's work
        return None


def where(task: asyncio.Task[Any]) -> str:
    """The line at which a task waits: names of ours, and never a value."""
    stack = task.get_stack(limit=1)
    if not stack:
        return "nowhere"
    code = stack[0].f_code
    return f"{code.co_qualname}:{stack[0].f_lineno}"
