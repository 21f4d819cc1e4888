"""The daemon's chores: word of how it does for `status`, and letting go of what is old."""

import os
from collections.abc import Callable
from datetime import datetime
from itertools import takewhile

import structlog

from forwarder.clock import Clock
from forwarder.errors import LedgerError
from forwarder.health import Health
from forwarder.ledger import Ledger, Pulse, Reading
from forwarder.metrics import Metrics
from forwarder.model import Feed, State
from forwarder.settings import Settings

log = structlog.get_logger("upkeep")

SWEEP_EVERY = 60.0
SWEEP_ON = 0.25
"""Seconds from one step of a sweep to the next."""

STEP = 0.5
"""Seconds. A change of health is told with the next step, and so is how it does to whoever asks. Time alone is no news:
each telling is a write to disk, and most of the time there is nothing to tell, and nobody there to read it.
"""


class Upkeep:
    """`readings` gives the last reading of each feed, the latest last. It may be of very many feeds."""

    def __init__(
        self, ledger: Ledger, settings: Callable[[], Settings], readings: Callable[[], dict[Feed, Reading]],
        clock: Clock, health: Health, metrics: Metrics,
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._settings = settings
        self._readings = readings
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._told: dict[Feed, Reading] = {}
        self._told_feeds = 0
        self._asked_at: datetime | None = None

    async def run(self) -> None:
        next_sweep = 0.0
        await self.tell()
        while True:
            now = self._clock.monotonic()
            if self._is_news() or self._ledger_failed() or await self._is_asked():
                await self.tell()
            if now >= next_sweep:
                next_sweep = now + (SWEEP_ON if await self._sweep() else SWEEP_EVERY)
            await self._clock.sleep(min(STEP, max(0.0, next_sweep - now)))

    async def tell(self) -> None:
        """Write the pulse, which also proves that the ledger can be written."""
        self._health.changed.clear()
        readings, count = self._untold(), len(self._readings())
        parts = {
            name: {"state": part.state.value, "since": part.since, "why": part.why, "mend": part.mend}
            for name, part in self._health.parts.items()
        }
        try:
            await self._ledger.note(Pulse(self._clock.now(), os.getpid(), parts), readings)
        except LedgerError as error:
            self._health.report("ledger", State.FAILED, error.message, error.hint)
            return
        self._told.update(readings)
        self._told_feeds = count
        self._health.healthy("ledger")
        self._metrics.succeeded("ledger", self._clock.now())

    def _untold(self) -> dict[Feed, Reading]:
        """Those since the last telling: what stands before one that was told was told as well."""
        latest_first = reversed(self._readings().items())
        return dict(takewhile(lambda each: self._told.get(each[0]) is not each[1], latest_first))

    def _is_news(self) -> bool:
        """Also that a feed was read for the first time."""
        return self._health.changed.is_set() or len(self._readings()) != self._told_feeds

    async def _is_asked(self) -> bool:
        """Whether somebody asked since the last look."""
        try:
            asked_at = await self._ledger.asked_at()
        except LedgerError as error:
            self._health.report("ledger", State.FAILED, error.message, error.hint)
            return False
        is_new = asked_at != self._asked_at
        self._asked_at = asked_at
        return is_new

    async def finish(self) -> None:
        """All chores at once, for a process that ends."""
        await self.tell()
        while await self._sweep():
            pass

    async def _sweep(self) -> bool:
        ledger = self._settings().ledger
        try:
            return await self._ledger.sweep(
                now=self._clock.now(), remember=ledger.remember, keep_payload=ledger.keep_payload
            )
        except LedgerError as error:
            log.warning("sweep failed", why=error.message, mend=error.hint)
            return False

    def _ledger_failed(self) -> bool:
        part = self._health.parts.get("ledger")
        return part is not None and part.state is State.FAILED
