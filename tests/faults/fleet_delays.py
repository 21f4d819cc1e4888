"""A meter of the time for which processes wait for a processor, so that a slow machine is distinguished from a fault.

Linux counts in `/proc/PID/schedstat` for how long a thread that could run had to wait. On other systems the processes
count as never delayed. The meter itself runs in the event loop of the proxies, whose lateness it adds.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

TICK_SECONDS: Final = 0.05


@dataclass
class DelayMeter:
    """A meter of one process, and of the loop in which it runs. `pid` returns None while no process runs."""

    pid: Callable[[], int | None]
    _at: list[float] = field(default_factory=list)
    _total: list[float] = field(default_factory=list)
    """The seconds of delay until each time in `_at`."""

    async def run(self) -> None:
        """Measure until cancelled."""
        known, waited = None, 0.0
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            late = time.monotonic() - began - TICK_SECONDS
            pid = self.pid()
            now_waited = waited_seconds(pid)
            self.add(time.time(), late + (max(0.0, now_waited - waited) if pid == known else now_waited))
            known, waited = pid, now_waited

    def add(self, at: float, seconds: float) -> None:
        """Add the delay since the last time."""
        self._at.append(at)
        self._total.append(seconds + (self._total[-1] if self._total else 0.0))

    def between(self, begin: float, end: float) -> float:
        """Return the delay between two times, both measurements around them included."""
        if not self._at:
            return 0.0
        first = bisect_right(self._at, begin) - 1
        last = min(bisect_left(self._at, end), len(self._at) - 1)
        return self._total[last] - (self._total[first] if first >= 0 else 0.0)


def waited_seconds(pid: int | None) -> float:
    """Return for how long the main thread of a process has waited for a processor since its start."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
