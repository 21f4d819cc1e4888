"""When the oldest owed entry was recorded, for whoever looks, however often."""

from datetime import datetime

from forwarder.clock import Clock
from forwarder.ledger import Ledger

WORTH = 50
"""How much longer a look at the ledger counts than it took."""


class OldestOwed:
    """The ledger looks through all that is owed for it: of a backlog, this takes no more than a fiftieth of its time.

    Where little is owed, a look counts for next to no time.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._counts_until = float("-inf")
        self._recorded_at: datetime | None = None

    async def look(self, owed: int) -> datetime | None:
        """`owed` is how many are. Raises LedgerError."""
        if not owed:
            self._counts_until = float("-inf")
            return None
        began = self._clock.monotonic()
        if began >= self._counts_until:
            self._recorded_at = await self._ledger.oldest_owed()
            ended = self._clock.monotonic()
            self._counts_until = ended + WORTH * (ended - began)
        return self._recorded_at
