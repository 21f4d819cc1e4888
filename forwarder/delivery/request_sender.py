"""The sender of single requests. Each entry is settled by its own outcome.

A failed request opens the circuit breaker, which stops all requests for a while. A request with one entry that is
proven to be the cause of its failures postpones only this entry.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from forwarder.aws.eventbridge import NotOwned
from forwarder.clock import Clock
from forwarder.delivery.batch import Batch, PublishedBatch, publish
from forwarder.delivery.bus_check import BusCheck, VerifiedBus
from forwarder.delivery.bus_health import BusHealth, failure_type
from forwarder.delivery.circuit_breaker import CircuitBreaker, FailureType, Permit
from forwarder.delivery.refusal_tracker import RefusalTracker
from forwarder.delivery.reporting import DeliveryReporter
from forwarder.delivery.retry import UNKNOWN_CODE, decide
from forwarder.delivery.settlement import SettlementWriter
from forwarder.errors import BusMissing, DestinationError, DestinationUnavailable
from forwarder.ledger import Ledger, Postponed, Settlement
from forwarder.model import ClaimedEntry, Retry, Unknown

log = structlog.get_logger("delivery")


@dataclass(frozen=True, kw_only=True)
class RequestSender:
    """A sender that the delivery loop calls once for each batch, also at the same time.

    `requeue` makes the entries pending again that a missing bus has accepted.
    """

    bus: VerifiedBus
    bus_check: BusCheck
    bus_health: BusHealth
    circuit_breaker: CircuitBreaker
    refusal_tracker: RefusalTracker
    ledger: Ledger
    settlement_writer: SettlementWriter
    reporter: DeliveryReporter
    clock: Clock
    requeue: Callable[[], Awaitable[None]]

    async def send(self, permit: Permit, batch: Batch) -> None:
        """Publish one batch and settle its entries. Entries without a response stay pending."""
        unsettled = {claimed.token for claimed in batch.entries}
        try:
            async for published in publish(self.bus, batch, self.refusal_tracker, self.ledger.owns):
                settlements = self._apply_result(permit, published)
                await self.bus_check.save()
                unsettled -= {claimed.token for claimed in published.batch.entries}  # the writer owns them now
                await self.settlement_writer.settle(settlements, self.bus.name)
                self.reporter.settled(published, settlements, self.clock.now())
        except NotOwned:
            log.info("request dropped, another process may have taken its entries over", entries=len(unsettled))
        except DestinationError as error:
            self.reporter.failed(error.code, len(unsettled))
            if not isinstance(error, BusMissing) and self._is_cause(batch):
                unsettled.clear()  # the writer owns it now
                postponed = self._postpone(batch.entries[0], error)
                await self.settlement_writer.settle([postponed], self.bus.name)
            else:
                self._back_off(permit, error)
            if isinstance(error, BusMissing):
                await self.requeue()
        except Exception as error:
            # An internal fault in one request must not end the loop. The entries stay pending, and are sent again.
            log.exception("PutEvents request failed", exception_type=type(error).__name__)
            self._back_off(permit, DestinationUnavailable("a request failed inside the forwarder", code="internal"))
        finally:
            self.ledger.release(unsettled)
            self.circuit_breaker.release()

    def _is_cause(self, batch: Batch) -> bool:
        """Record that the request failed. Return whether its only entry is proven to be the cause."""
        return len(batch.entries) == 1 and self.refusal_tracker.record_failed(batch.entries[0])

    def _postpone(self, claimed: ClaimedEntry, error: DestinationError) -> Settlement:
        """Return the settlement of an entry that makes its requests fail: it waits, and delays no other entry."""
        self.bus_health.report_failing_entry(claimed.entry.execution_id, error)
        return decide(claimed, Retry(error.code, error.message), self.clock.now())

    def _apply_result(self, permit: Permit, published: PublishedBatch) -> list[Settlement]:
        """Apply a result to the circuit breaker, and return the settlement of each entry."""
        self.bus_check.schedule()
        outcomes = published.result.outcomes
        if unknown := next((outcome for outcome in outcomes if isinstance(outcome, Unknown)), None):
            return self._apply_unknown(permit, published, unknown)
        settlements = self._decide(published)
        if published.result.stop_error:
            self.bus_health.count_refusals(outcomes)
            self._back_off(permit, published.result.stop_error)
        elif failure := self.bus_health.temporary_failure(outcomes):
            self._back_off(permit, failure)
        else:
            self.circuit_breaker.record_success(permit)
            self.bus_health.report_outcomes(outcomes, settled=_settled_ids(published, settlements))
        return settlements

    def _apply_unknown(self, permit: Permit, published: PublishedBatch, unknown: Unknown) -> list[Settlement]:
        """Do the same for a request without a valid response, which the bus may have accepted."""
        self.reporter.unknown(unknown.reason, len(published.batch.entries))
        error = DestinationUnavailable(f"the outcome of a request is unknown: {unknown.reason}", code=UNKNOWN_CODE)
        if self._is_cause(published.batch):
            return [self._postpone(published.batch.entries[0], error)]
        # The circuit opens before the commit of the outcomes, so that no request is sent between response and commit.
        self.circuit_breaker.record_failure(permit, FailureType.UNKNOWN)
        self.bus_health.report_unknown(error)
        return self._decide(published)

    def _decide(self, published: PublishedBatch) -> list[Settlement]:
        now = self.clock.now()
        pairs = zip(published.batch.entries, published.result.outcomes, strict=True)
        return [decide(claimed, outcome, now) for claimed, outcome in pairs]

    def _back_off(self, permit: Permit, error: DestinationError) -> None:
        self.bus_health.report_failure(error)
        wait = self.circuit_breaker.record_failure(permit, failure_type(error))
        if wait is not None:
            log.warning("delivery backing off", code=error.code, reason=error.message, retry_in=round(wait, 1))


def _settled_ids(published: PublishedBatch, settlements: Sequence[Settlement]) -> list[str]:
    """Return the execution ids of the entries that are not pending any more."""
    pairs = zip(published.batch.entries, settlements, strict=True)
    return [claimed.entry.execution_id for claimed, settlement in pairs if not isinstance(settlement, Postponed)]
