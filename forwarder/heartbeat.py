"""Detect stalled loops.

Each use of a loop's clock is a heartbeat. A task that has sent none for longer than the longest expected operation, and
is not sleeping, is stalled.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from forwarder.clock import Clock

MAX_WORK_SECONDS = 600.0
"""The default of the longest time between two heartbeats of a task: a request with all its timeouts, and more."""

MIN_SUSPENSION_SECONDS = 10.0
"""If two checks are this far apart, the process was suspended, and no loop is stalled."""

_loop: ContextVar[str] = ContextVar("loop")


@dataclass(slots=True)
class _Loop:
    root: asyncio.Task[Any]
    deadlines: dict[asyncio.Task[Any], float] = field(default_factory=dict)


class Heartbeats:
    """The deadline of each task's next heartbeat, in real seconds, whatever clock the loops use."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._loops: dict[str, _Loop] = {}
        self._checked_at = monotonic()
        self.max_work_seconds = MAX_WORK_SECONDS

    def start(self, name: str, loop: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run a loop as a task. The tasks that it creates belong to it."""

        async def named() -> None:
            _loop.set(name)
            self.beat()
            await loop()

        task = asyncio.create_task(named(), name=name)
        self._loops[name] = _Loop(task)
        return task

    def stop_tracking(self, name: str) -> None:
        """Expect no more heartbeats of this loop."""
        self._loops.pop(name, None)

    def beat(self, wait: float = 0.0) -> None:
        """Record a heartbeat of the current task, which may now sleep for `wait` seconds."""
        loop = self._loops.get(_loop.get(""))
        if loop is not None and (task := _current_task()) is not None:
            loop.deadlines[task] = self._monotonic() + wait + self.max_work_seconds

    def stalled(self) -> dict[str, list[asyncio.Task[Any]]]:
        """Return the stalled loops, each with its stalled tasks.

        The first task of a loop may wait for the tasks that it created, as long as they send heartbeats.
        """
        self._extend_deadlines_after_suspension()
        now = self._monotonic()
        stalled: dict[str, list[asyncio.Task[Any]]] = {}
        for name, loop in self._loops.items():
            loop.deadlines = {task: deadline for task, deadline in loop.deadlines.items() if not task.done()}
            others = loop.deadlines.keys() - {loop.root}
            stalled_tasks = [
                task
                for task, deadline in loop.deadlines.items()
                if deadline < now and not (task is loop.root and others)
            ]
            if stalled_tasks:
                stalled[name] = stalled_tasks
        return stalled

    def _extend_deadlines_after_suspension(self) -> None:
        now = self._monotonic()
        if (suspended_seconds := now - self._checked_at) > MIN_SUSPENSION_SECONDS:
            for loop in self._loops.values():
                loop.deadlines = {task: deadline + suspended_seconds for task, deadline in loop.deadlines.items()}
        self._checked_at = now


class HeartbeatClock:
    """A clock that records a heartbeat with each call, so that no loop can forget to send one."""

    def __init__(self, clock: Clock, heartbeats: Heartbeats) -> None:
        self._clock = clock
        self._heartbeats = heartbeats

    def now(self) -> datetime:
        self._heartbeats.beat()
        return self._clock.now()

    def monotonic(self) -> float:
        self._heartbeats.beat()
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        self._heartbeats.beat(seconds)
        await self._clock.sleep(seconds)
        self._heartbeats.beat()

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        self._heartbeats.beat(seconds)
        is_set = await self._clock.wait(event, seconds)
        self._heartbeats.beat()
        return is_set


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # a thread that does a part of a task's work
        return None


def task_location(task: asyncio.Task[Any]) -> str:
    """Return the function and line where a task waits. It holds no value."""
    stack = task.get_stack(limit=1)
    if not stack:
        return "nowhere"
    code = stack[0].f_code
    return f"{code.co_qualname}:{stack[0].f_lineno}"
