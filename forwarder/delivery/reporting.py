"""The log lines and metrics of delivery.

Each entry that is not accepted has its own line. Accepted entries share one line per second, so that a storm does not
fill the log. A drain logs the rest at once.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog

from forwarder.clock import Clock
from forwarder.delivery.batch import PublishedBatch
from forwarder.delivery.bus_health import COMPONENT
from forwarder.ledger import Dead, Postponed, Sent, Settlement
from forwarder.metrics import Metrics
from forwarder.model import Accepted, ClaimedEntry
from forwarder.time_format import rfc3339

log = structlog.get_logger("delivery")

FLUSH_INTERVAL_SECONDS = 1.0
"""The minimum time between two lines about accepted entries."""


class DeliveryReporter:
    """The reporter of one delivery loop."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._entries = 0
        self._max_age_seconds = 0.0
        self._flushed_at = float("-inf")

    def settled(self, published: PublishedBatch, settlements: Sequence[Settlement], now: datetime) -> None:
        """Report a batch that was settled at `now`."""
        claimed = published.batch.entries
        outcomes = published.result.outcomes
        accepted = [entry for entry, outcome in zip(claimed, outcomes, strict=True) if isinstance(outcome, Accepted)]
        if accepted:
            self._record_accepted(accepted, now)
        if len(accepted) < len(claimed):
            for entry, settlement in zip(claimed, settlements, strict=True):
                self._record_unaccepted(entry.entry.execution_id, settlement)

    def failed(self, code: str, entries: int) -> None:
        """Report a failed request whose entries stay pending."""
        self._metrics.count_retried(code, entries)

    def unknown(self, reason: str, entries: int) -> None:
        """Report a request that the bus may have accepted."""
        self._metrics.count_unknown(entries)
        log.warning("possible duplicate", entries=entries, reason=reason)

    def dead_lettered(self, claimed: Sequence[ClaimedEntry], dead: Sequence[Dead]) -> None:
        for each, settlement in zip(claimed, dead, strict=True):
            self._record_unaccepted(each.entry.execution_id, settlement)

    def flush_if_due(self) -> None:
        """Flush if the last line is at least FLUSH_INTERVAL_SECONDS old."""
        if self._clock.monotonic() - self._flushed_at >= FLUSH_INTERVAL_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Log the number of entries accepted since the last flush."""
        if self._entries:
            log.info("events sent", entries=self._entries, max_age_seconds=round(self._max_age_seconds, 3))
            self._entries, self._max_age_seconds, self._flushed_at = 0, 0.0, self._clock.monotonic()

    def _record_accepted(self, accepted: Sequence[ClaimedEntry], now: datetime) -> None:
        lags = [max(0.0, (now - each.entry.time).total_seconds()) for each in accepted]
        self._entries += len(accepted)
        self._max_age_seconds = max(self._max_age_seconds, *lags)
        self._metrics.count_sent(
            len(accepted), (lag for each, lag in zip(accepted, lags, strict=True) if not each.replay)
        )
        self._metrics.set_last_success(COMPONENT, now)
        self.flush_if_due()

    def _record_unaccepted(self, execution_id: str, settlement: Settlement) -> None:
        match settlement:
            case Dead(_, code, reason):
                self._metrics.count_dead_lettered(code)
                log.error("event dead-lettered", execution_id=execution_id, code=code, reason=reason)
            case Postponed(_, code, due_at):
                self._metrics.count_retried(code)
                log.info("event retry scheduled", execution_id=execution_id, code=code, retry_at=rfc3339(due_at))
            case Sent():
                pass
