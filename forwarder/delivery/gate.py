"""How many requests may be in flight: many while all is well, one at a time and ever more rarely while it is not."""

import asyncio
from dataclasses import dataclass
from enum import Enum

from forwarder.backoff import Backoff
from forwarder.clock import Clock


class Trouble(Enum):
    """What stands between us and the bus.

    OUTAGE: the bus says that it accepted nothing, for now. SILENCE: nothing was sent, or it was not the bus that
    answered. REFUSAL: it refuses us, or is missing. UNKNOWN: it may have accepted what we sent.
    """

    OUTAGE = "outage"
    SILENCE = "silence"
    REFUSAL = "refusal"
    UNKNOWN = "unknown"


WAITS = {
    Trouble.OUTAGE: (0.5, 30.0),
    Trouble.SILENCE: (0.5, 30.0),
    Trouble.REFUSAL: (2.0, 60.0),
    Trouble.UNKNOWN: (1.0, 300.0),
}
"""The ceiling of the first wait and the longest one, in seconds."""


@dataclass(frozen=True, slots=True)
class Ticket:
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
        self._backoffs = {kind: Backoff(base=first, cap=longest) for kind, (first, longest) in WAITS.items()}
        self.uncertain = False
        """Whether only requests of one entry may go, since the last ones may or may not have arrived."""

    async def enter(self) -> Ticket:
        while True:
            self._changed.clear()
            wait = self._not_before - self._clock.monotonic()
            if wait <= 0 and self._in_flight < self._width:
                self._in_flight += 1
                return Ticket(self._epoch)
            await self._clock.wait(self._changed, wait if wait > 0 else 60.0)

    def leave(self) -> None:
        self._in_flight -= 1
        self._changed.set()

    def understood(self, ticket: Ticket) -> None:
        """The bus answered as it should. What was sent before the trouble began says nothing about its end."""
        if ticket.epoch != self._epoch:
            return
        self.uncertain = False
        self._width = min(self._full_width, self._width + 1)
        for backoff in self._backoffs.values():
            backoff.reset()
        self._changed.set()

    def trouble(self, ticket: Ticket, kind: Trouble) -> float | None:
        """Close for a step of backoff; its seconds, but None for a request that was in flight when one had begun."""
        if kind is Trouble.UNKNOWN:
            self.uncertain = True
        if ticket.epoch != self._epoch:
            return None
        if kind in (Trouble.OUTAGE, Trouble.REFUSAL):
            self.uncertain = False  # an answer was understood
        wait = self._backoffs[kind].next()
        self._epoch += 1
        self._width = 1
        self._not_before = self._clock.monotonic() + wait
        return wait
