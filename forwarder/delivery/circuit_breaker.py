"""The circuit breaker of a destination: full concurrency while closed, one request at a time with backoff otherwise."""

import asyncio
from dataclasses import dataclass
from enum import Enum

from forwarder import heartbeat
from forwarder.backoff import Backoff
from forwarder.clock import Clock


class FailureType(Enum):
    """The reason for which a request was not accepted.

    OUTAGE: the bus says that it accepted nothing, for now. UNREACHABLE: nothing was sent, or it was not the bus that
    answered. REFUSAL: it refuses us, or is missing. UNKNOWN: it may have accepted what we sent.
    """

    OUTAGE = "outage"
    UNREACHABLE = "unreachable"
    REFUSAL = "refusal"
    UNKNOWN = "unknown"


BACKOFF_SECONDS = {
    FailureType.OUTAGE: (0.5, 30.0),
    FailureType.UNREACHABLE: (0.5, 30.0),
    FailureType.REFUSAL: (2.0, 60.0),
    FailureType.UNKNOWN: (1.0, 300.0),
}
"""The ceiling of the first wait and the longest one, in seconds."""


@dataclass(frozen=True, slots=True)
class Permit:
    """A permit to send one request. `generation` counts the failures before it."""

    generation: int


class CircuitBreaker:
    """A circuit breaker that also limits how many requests are in flight."""

    def __init__(self, max_concurrency: int, clock: Clock) -> None:
        self._max_concurrency = max_concurrency
        self._concurrency = max_concurrency
        self._in_flight = 0
        self._generation = 0
        self._retry_at = 0.0
        self._clock = clock
        self._changed = asyncio.Event()
        self._backoffs = {
            failure_type: Backoff(base=first, cap=maximum) for failure_type, (first, maximum) in BACKOFF_SECONDS.items()
        }
        self.single_entry_mode = False
        """Whether only requests of one entry may go, since the last ones may or may not have arrived."""

    async def acquire(self) -> Permit:
        while True:
            heartbeat.beat()
            self._changed.clear()
            wait = self._retry_at - self._clock.monotonic()
            if wait <= 0:
                if self._in_flight < self._concurrency:
                    self._in_flight += 1
                    return Permit(self._generation)
                wait = heartbeat.INTERVAL_SECONDS
            heartbeat.beat(wait)
            await self._clock.wait(self._changed, wait)

    def release(self) -> None:
        self._in_flight -= 1
        self._changed.set()

    def record_success(self, permit: Permit) -> None:
        """Close step by step. A request that was sent before the failure proves nothing about its end."""
        if permit.generation != self._generation:
            return
        self.single_entry_mode = False
        self._concurrency = min(self._max_concurrency, self._concurrency + 1)
        for backoff in self._backoffs.values():
            backoff.reset()
        self._changed.set()

    def record_failure(self, permit: Permit, failure_type: FailureType) -> float | None:
        """Open for a step of backoff. Return its seconds, or None if the request was sent before the last failure."""
        if failure_type is FailureType.UNKNOWN:
            self.single_entry_mode = True
        if permit.generation != self._generation:
            return None
        if failure_type in (FailureType.OUTAGE, FailureType.REFUSAL):
            self.single_entry_mode = False  # an answer was understood
        wait = self._backoffs[failure_type].next()
        self._generation += 1
        self._concurrency = 1
        self._retry_at = self._clock.monotonic() + wait
        return wait
