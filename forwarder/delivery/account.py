"""What is said and counted of what was sent.

What is not accepted is told entry by entry. What is accepted is summed up, once a second at most: a storm must not fill
the log with words about it, nor spend its time on them.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog

from forwarder.clock import Clock
from forwarder.delivery.publish import Published
from forwarder.ledger import Dead, Postponed, Sent, Settlement
from forwarder.metrics import Metrics
from forwarder.model import Accepted, Owed

log = structlog.get_logger("delivery")

PART = "bus"

TELL_EVERY = 1.0
"""Seconds."""


class Account:
    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._entries = 0
        self._oldest_ago = 0.0
        self._told_at = float("-inf")

    def booked(self, published: Published, settlements: Sequence[Settlement], now: datetime) -> None:
        """An answer was booked, at `now`."""
        owed = published.batch.owed
        outcomes = published.answer.outcomes
        accepted = [entry for entry, outcome in zip(owed, outcomes, strict=True) if isinstance(outcome, Accepted)]
        if accepted:
            self._sent(accepted, now)
        if len(accepted) < len(owed):
            for entry, settlement in zip(owed, settlements, strict=True):
                self._not_sent(entry.entry.execution_id, settlement)

    def buried(self, owed: Sequence[Owed], dead: Sequence[Dead]) -> None:
        for each, settlement in zip(owed, dead, strict=True):
            self._not_sent(each.entry.execution_id, settlement)

    def tell(self) -> None:
        """What was sent since this was told last."""
        if self._entries:
            log.info("events sent", entries=self._entries, oldest_stopped_ago=round(self._oldest_ago, 3))
            self._entries, self._oldest_ago, self._told_at = 0, 0.0, self._clock.monotonic()

    def _sent(self, accepted: Sequence[Owed], now: datetime) -> None:
        lags = [max(0.0, (now - each.entry.time).total_seconds()) for each in accepted]
        self._entries += len(accepted)
        self._oldest_ago = max(self._oldest_ago, *lags)
        self._metrics.sent(len(accepted), (lag for each, lag in zip(accepted, lags, strict=True) if not each.replay))
        self._metrics.succeeded(PART, now)
        if self._clock.monotonic() - self._told_at >= TELL_EVERY:
            self.tell()

    def _not_sent(self, execution_id: str, settlement: Settlement) -> None:
        match settlement:
            case Dead(_, code, reason):
                self._metrics.died(code)
                log.error("entry dead", execution_id=execution_id, code=code, why=reason)
            case Postponed(_, code, due_at):
                self._metrics.retried(code)
                log.info("entry postponed", execution_id=execution_id, code=code, until=due_at.isoformat())
            case Sent():
                pass
