"""The circuit breaker of a destination.

A failure stops all requests for one backoff, and then allows one request at a time. Each success allows one more.
"""

import asyncio
from dataclasses import dataclass
from enum import Enum

from forwarder import heartbeat
from forwarder.backoff import Backoff
from forwarder.clock import Clock


class FailureType(Enum):
    """The type of a failed request.

    OUTAGE: the bus accepts nothing for now. THROTTLED: it accepts no more for now. UNREACHABLE: nothing was sent, or
    the response is not from the bus. REFUSAL: the bus refuses the forwarder, or is missing. UNKNOWN: the bus may have
    accepted the request.
    """

    OUTAGE = "outage"
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    REFUSAL = "refusal"
    UNKNOWN = "unknown"


BACKOFF_SECONDS = {
    FailureType.OUTAGE: (0.5, 30.0),
    FailureType.THROTTLED: (0.5, 30.0),
    FailureType.UNREACHABLE: (0.5, 30.0),
    FailureType.REFUSAL: (2.0, 60.0),
    FailureType.UNKNOWN: (1.0, 300.0),
}
"""The upper limits of the first wait and of all waits, before jitter."""


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
        """True while only requests with one entry may be sent, because one entry may be why the last request failed."""

    async def acquire(self) -> Permit:
        """Wait until a request may be sent, and return its permit."""
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

    @property
    def wait_seconds(self) -> float:
        """Return the time until the circuit allows a request again, or 0 if it is closed."""
        return max(0.0, self._retry_at - self._clock.monotonic())

    def retry_now(self) -> None:
        """End the current backoff. The next failure opens the circuit again, for no shorter time."""
        self._retry_at = self._clock.monotonic()
        self._changed.set()

    def release(self) -> None:
        self._in_flight -= 1
        self._changed.set()

    def record_success(self, permit: Permit) -> None:
        """Raise the concurrency by one request, up to the maximum, and reset the backoffs.

        Change nothing if the request was sent before the last failure.
        """
        if permit.generation != self._generation:
            return
        self.single_entry_mode = False
        self._concurrency = min(self._max_concurrency, self._concurrency + 1)
        for backoff in self._backoffs.values():
            backoff.reset()
        self._changed.set()

    def record_failure(self, permit: Permit, failure_type: FailureType) -> float | None:
        """Open the circuit for one backoff, and return the length of the backoff in seconds.

        If the request was sent before the last failure, return None and do not open the circuit again.
        """
        # AWS, or a filter in front of it, may fail at the content of one entry. Its neighbours must not wait for it.
        # Throttling has no such cause, and lasts longer with smaller requests.
        if failure_type is not FailureType.THROTTLED:
            self.single_entry_mode = True
        if permit.generation != self._generation:
            return None
        wait = self._backoffs[failure_type].next()
        self._generation += 1
        self._concurrency = 1
        self._retry_at = self._clock.monotonic() + wait
        return wait
