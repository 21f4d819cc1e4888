"""The time when the oldest pending entry was recorded, cached."""

from datetime import datetime

from forwarder.clock import Clock
from forwarder.ledger import Ledger

CACHE_FACTOR = 50
"""A result is cached this many times as long as its query took."""


class OldestPending:
    """A cache of `Ledger.oldest_pending`, which reads all pending entries.

    With a backlog, these queries take at most a fiftieth of the time. A fast query is cached for next to no time.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._valid_until = float("-inf")
        self._recorded_at: datetime | None = None

    async def get(self, pending: int) -> datetime | None:
        """Return the time; None if nothing is pending. `pending` is the number of entries. Raises LedgerError."""
        if not pending:
            self._valid_until = float("-inf")
            return None
        started_at = self._clock.monotonic()
        if started_at >= self._valid_until:
            self._recorded_at = await self._ledger.oldest_pending()
            ended_at = self._clock.monotonic()
            self._valid_until = ended_at + CACHE_FACTOR * (ended_at - started_at)
        return self._recorded_at
