"""Detect stalled loops.

A loop calls `beat()` at each turn, and `beat(seconds)` before a wait that can take longer than ten seconds. A task
that has sent no heartbeat for longer than the longest expected operation, and is not in an announced wait, is stalled.
A task that only waits for its own tasks announces a wait without end, because each of these sends heartbeats.

`beat` finds the loop of the current task in a context variable, which the tasks of a loop inherit. So the circuit
breaker, the rate limiter and the settlement writer send the heartbeats of whichever loop calls them, and commands
without a supervisor need no second variant of these components.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from functools import partial
from typing import Any

MAX_WORK_SECONDS = 600.0
"""The default of the longest expected time between two heartbeats of a task, announced waits excluded."""

MIN_SUSPENSION_SECONDS = 10.0
"""If two checks are this far apart, the process was suspended, and no loop is stalled."""

INTERVAL_SECONDS = 60.0
"""The interval of heartbeats during a wait without a known end."""

_record: ContextVar[Callable[[float], None]] = ContextVar("record")
"""The function that records a heartbeat for the loop of the current task."""


def beat(wait_seconds: float = 0.0) -> None:
    """Record a heartbeat of the current task, and announce a wait of `wait_seconds`. Do nothing outside of a loop."""
    if (record := _record.get(None)) is not None:
        record(wait_seconds)


async def wait_until_done(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Wait for tasks that send heartbeats of their own, however long they take. If cancelled, leave them running."""
    unfinished = set(tasks)
    while unfinished:
        beat(INTERVAL_SECONDS)
        _, unfinished = await asyncio.wait(unfinished, timeout=INTERVAL_SECONDS)
    beat()


class Heartbeats:
    """The deadline of each task's next heartbeat, in real seconds, independent of the clock of the loops."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._deadlines: dict[str, dict[asyncio.Task[Any], float]] = {}
        self._checked_at = monotonic()
        self.max_work_seconds = MAX_WORK_SECONDS

    def start(self, name: str, loop: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run a loop as a task, and return the task. Expect heartbeats of each of its tasks that has sent one."""

        async def named() -> None:
            _record.set(partial(self._record, name))
            beat()
            await loop()

        self._deadlines[name] = {}
        return asyncio.create_task(named(), name=name)

    def stop_tracking(self, name: str) -> None:
        """Expect no more heartbeats of this loop."""
        self._deadlines.pop(name, None)

    def stalled(self) -> dict[str, list[asyncio.Task[Any]]]:
        """Return the stalled loops, each with its stalled tasks."""
        self._extend_deadlines_after_suspension()
        now = self._monotonic()
        stalled: dict[str, list[asyncio.Task[Any]]] = {}
        for name, deadlines in self._deadlines.items():
            for task in [task for task in deadlines if task.done()]:
                del deadlines[task]
            if stalled_tasks := [task for task, deadline in deadlines.items() if deadline < now]:
                stalled[name] = stalled_tasks
        return stalled

    def _record(self, name: str, wait_seconds: float) -> None:
        # By name: a task that an earlier run of the loop left behind belongs to the current one, which may wait for it.
        if (deadlines := self._deadlines.get(name)) is not None and (task := asyncio.current_task()) is not None:
            deadlines[task] = self._monotonic() + wait_seconds + self.max_work_seconds

    def _extend_deadlines_after_suspension(self) -> None:
        now = self._monotonic()
        if (suspended_seconds := now - self._checked_at) > MIN_SUSPENSION_SECONDS:
            for deadlines in self._deadlines.values():
                for task in deadlines:
                    deadlines[task] += suspended_seconds
        self._checked_at = now


def task_location(task: asyncio.Task[Any]) -> str:
    """Return the function and line where a task waits, or "nowhere" if the task has ended. No value is included."""
    stack = task.get_stack(limit=1)
    if not stack:
        return "nowhere"
    code = stack[0].f_code
    return f"{code.co_qualname}:{stack[0].f_lineno}"
