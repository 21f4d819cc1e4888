"""Time in a simulation: so many times faster, and one for the process under test and for the API that it reads."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

AHEAD: Final = 10 * 86_400.0
"""Seconds. Verbs beside the daemon go by the machine's clock: what they write must never lie in our future."""


@dataclass(frozen=True, slots=True)
class SimTime:
    """`epoch` is a Unix time, and `began` what `time.monotonic` said then: it is the same in every process."""

    epoch: float
    began: float
    factor: float

    @classmethod
    def begin(cls, factor: float) -> Self:
        return cls(time.time() + AHEAD, time.monotonic(), factor)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        return cls(*(float(part) for part in environ["SIMULATED_TIME"].split()))

    def environ(self) -> dict[str, str]:
        return {"SIMULATED_TIME": f"{self.epoch!r} {self.began!r} {self.factor!r}"}

    def passed(self) -> float:
        """Simulated seconds since the beginning."""
        return (time.monotonic() - self.began) * self.factor

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.epoch + self.passed(), UTC)

    def real(self, seconds: float) -> float:
        """How long simulated seconds take."""
        return seconds / self.factor


class FastClock:
    """`forwarder.clock.Clock` in simulated time. `jump` is how far the machine's clock was set from the true time."""

    def __init__(self, sim: SimTime, jump: Callable[[], timedelta]) -> None:
        self._sim = sim
        self._jump = jump

    def now(self) -> datetime:
        return self._sim.now() + self._jump()

    def monotonic(self) -> float:
        return time.monotonic() * self._sim.factor

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(self._sim.real(seconds))

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        try:
            async with asyncio.timeout(self._sim.real(seconds)):
                return await event.wait()
        except TimeoutError:
            return False


def sim_time() -> SimTime:
    return SimTime.of(os.environ)
