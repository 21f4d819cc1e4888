"""How many requests may be in flight: many while all is well, one at a time and ever more rarely while it is not."""

import asyncio
from dataclasses import dataclass

from forwarder.backoff import Backoff
from forwarder.clock import Clock

LONGEST_OUTAGE_WAIT = 30.0
LONGEST_REFUSAL_WAIT = 60.0
LONGEST_UNKNOWN_WAIT = 300.0
"""Seconds between two tries: of a bus that is down, that refuses us, and that may have accepted what we sent."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave to send one request. `epoch` counts the troubles before it."""

    epoch: int


class Gate:
    def __init__(self, width: int, clock: Clock) -> None:
        self._full_width = width
        self._width = width
        self._in_flight = 0
        self._epoch = 0
        self._not_before = 0.0
        self._clock = clock
        self._changed = asyncio.Event()
        self._outage = Backoff(base=0.5, cap=LONGEST_OUTAGE_WAIT)
        self._refusal = Backoff(base=2.0, cap=LONGEST_REFUSAL_WAIT, floor=1.0)
        self._unknown = Backoff(base=1.0, cap=LONGEST_UNKNOWN_WAIT, floor=0.2)
        self.uncertain = False
        """Whether only requests of one entry may go, since the last ones may or may not have arrived."""

    async def enter(self) -> Pass:
        while True:
            self._changed.clear()
            wait = self._not_before - self._clock.monotonic()
            if wait <= 0 and self._in_flight < self._width:
                self._in_flight += 1
                return Pass(self._epoch)
            await self._clock.wait(self._changed, wait if wait > 0 else 60.0)

    def leave(self) -> None:
        self._in_flight -= 1
        self._changed.set()

    def understood(self, leave: Pass) -> None:
        """The bus answered as it should. What was sent before the trouble began says nothing about its end."""
        if leave.epoch != self._epoch:
            return
        self.uncertain = False
        self._width = min(self._full_width, self._width + 1)
        for backoff in (self._outage, self._refusal, self._unknown):
            backoff.reset()
        self._changed.set()

    def unavailable(self, leave: Pass, *, answered: bool) -> float | None:
        """Nothing was accepted. `answered` is whether the bus itself said so: then it is certain again."""
        self.uncertain = self.uncertain and not answered
        return self._close(leave, self._outage)

    def refused(self, leave: Pass) -> float | None:
        self.uncertain = False
        return self._close(leave, self._refusal)

    def unknown(self, leave: Pass) -> float | None:
        self.uncertain = True
        return self._close(leave, self._unknown)

    def _close(self, leave: Pass, backoff: Backoff) -> float | None:
        """One step for all requests that were in flight together: its seconds for the first, None for the others."""
        if leave.epoch != self._epoch:
            return None
        wait = backoff.next()
        self._epoch += 1
        self._width = 1
        self._not_before = self._clock.monotonic() + wait
        return wait
