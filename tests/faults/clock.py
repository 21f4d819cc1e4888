"""The accelerated time of a simulation. The process under test and the API that it reads share it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

AHEAD_SECONDS: Final = 10 * 86_400.0
"""Commands beside the daemon use the machine's clock, and their times must never be in the daemon's future."""


@dataclass(frozen=True, slots=True)
class SimTime:
    """The simulated time, the same in every process: `epoch` is the Unix time at the monotonic time `began`."""

    epoch: float
    began: float
    factor: float

    @classmethod
    def start(cls, factor: float) -> Self:
        return cls(time.time() + AHEAD_SECONDS, time.monotonic(), factor)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        return cls(*(float(part) for part in environ["SIMULATED_TIME"].split()))

    def environ(self) -> dict[str, str]:
        return {"SIMULATED_TIME": f"{self.epoch!r} {self.began!r} {self.factor!r}"}

    def elapsed(self) -> float:
        """Return the simulated seconds since the start."""
        return (time.monotonic() - self.began) * self.factor

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.epoch + self.elapsed(), UTC)

    def real_seconds(self, seconds: float) -> float:
        """Convert simulated seconds to real ones."""
        return seconds / self.factor


class FastClock:
    """A `forwarder.clock.Clock` in simulated time. `jump` returns the offset of the machine's clock."""

    def __init__(self, sim: SimTime, jump: Callable[[], timedelta]) -> None:
        self._sim = sim
        self._jump = jump

    def now(self) -> datetime:
        return self._sim.now() + self._jump()

    def monotonic(self) -> float:
        return time.monotonic() * self._sim.factor

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(self._sim.real_seconds(seconds))

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        try:
            async with asyncio.timeout(self._sim.real_seconds(seconds)):
                return await event.wait()
        except TimeoutError:
            return False


def sim_time() -> SimTime:
    return SimTime.of(os.environ)
