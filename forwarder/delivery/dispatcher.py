"""The delivery loop: it publishes pending entries, and settles each by its own outcome."""

import asyncio

import structlog

from forwarder import heartbeat
from forwarder.aws.eventbridge import Bus
from forwarder.clock import Clock
from forwarder.delivery.batch import MAX_ENTRIES, Batch, Batcher, EventTemplate
from forwarder.delivery.bus_check import BusCheck, VerifiedBus
from forwarder.delivery.circuit_breaker import CircuitBreaker, FailureType, Permit
from forwarder.delivery.publishing import PublishedBatch, publish
from forwarder.delivery.refusal_tracker import RefusalTracker
from forwarder.delivery.reporting import COMPONENT, DeliveryReporter
from forwarder.delivery.retry import decide
from forwarder.delivery.settlement import SettlementWriter
from forwarder.errors import (
    BusMissing,
    DestinationError,
    DestinationPaused,
    DestinationUnavailable,
    EventsRefused,
    LedgerError,
)
from forwarder.health import Health
from forwarder.ledger import UNDECODABLE, Dead, Ledger, Settlement
from forwarder.metrics import Metrics
from forwarder.model import Accepted, ClaimedEntry, Outcome, Rejected, Retry, State, Unknown
from forwarder.settings import Settings

log = structlog.get_logger("delivery")

CLAIM_INTERVAL_SECONDS = 1.0
"""The interval in which entries that other processes recorded or requeued are noticed."""

LOCAL_ERROR_CODES = ("unreachable", "not-aws", "internal")
"""Codes of ours for outages of which the bus itself said nothing."""

PREFETCH_FACTOR = 8
"""Requests claimed from the ledger for each one that may be in flight: a claim waits for the ledger's commits, and
reads past all that is in flight."""


class Dispatcher:
    """Publishes for one set of settings. `wake` is called when something new is pending."""

    def __init__(
        self,
        bus: Bus,
        ledger: Ledger,
        settlement_writer: SettlementWriter,
        settings: Settings,
        clock: Clock,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._bus = VerifiedBus(
            bus,
            clock,
            verify=settings.destination.verify,
            committed_seq=lambda: settlement_writer.committed_seq,
        )
        self._ledger = ledger
        self._settlement_writer = settlement_writer
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._batcher = Batcher(EventTemplate.of(settings), settings.destination.max_request_bytes)
        self._circuit_breaker = CircuitBreaker(settings.destination.concurrency, clock)
        self._prefetch_entries = PREFETCH_FACTOR * MAX_ENTRIES * settings.destination.concurrency
        self._requests: set[asyncio.Task[None]] = set()
        self._wake_event = asyncio.Event()
        self._bus_check = BusCheck(self._bus, settlement_writer, clock)
        self._reporter = DeliveryReporter(clock, metrics)
        self._refusal_tracker = RefusalTracker()
        self.current_error: DestinationError | None = None
        """The reason for which entries are not accepted, until the next valid response."""

    def wake(self) -> None:
        self._wake_event.set()

    async def run(self, *, until_empty: bool = False) -> None:
        """Run until cancelled, or until nothing is pending or the bus refuses us. `drain` ends requests in flight."""
        await self._verify_at_start()
        try:
            while await self._fill_batcher(until_empty=until_empty):
                permit = await self._acquire_permit()
                self._start_request(
                    permit, self._batcher.next_batch(1 if self._circuit_breaker.single_entry_mode else MAX_ENTRIES)
                )
        finally:
            self._ledger.release([claimed.token for claimed in self._batcher.drain()])

    async def _verify_at_start(self) -> None:
        """Verify the bus before anything is sent to it."""
        try:
            await self._bus.verify()
        except DestinationError as error:
            self.current_error = error
            self._health.report(COMPONENT, State.FAILED, error.message, error.hint)
        else:
            self.current_error = None
            self._health.healthy(COMPONENT)
            await self._bus_check.save()

    async def drain(self) -> None:
        """Wait until the requests in flight have ended and are settled, then verify the bus.

        If cancelled, abandon them: their entries stay pending, and are sent again.
        """
        try:
            while self._requests:
                await asyncio.wait(self._requests)
        except asyncio.CancelledError:
            unfinished = list(self._requests)
            for request in unfinished:
                request.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
            log.warning("requests abandoned", requests=len(unfinished))
            raise
        self._reporter.flush()
        await self._check_bus()

    async def _fill_batcher(self, *, until_empty: bool) -> bool:
        """Wait until there is something to send. Return False if there is nothing more to wait for."""
        while not (until_empty and self._should_give_up):
            heartbeat.beat()
            self._wake_event.clear()
            if not self._batcher and (invalid := self._batcher.add(await self._claim())):
                await self._dead_letter(invalid)
            if self._batcher:
                return True
            if self._bus_check.is_due:
                await self._check_bus()
            if until_empty and not self._requests and await self._ledger.next_due() is None:
                return False
            self._reporter.flush()
            await self._clock.wait(self._wake_event, await self._seconds_until_due())
        return False

    @property
    def _should_give_up(self) -> bool:
        """Return whether a pass that has to end need not wait. A single entry that is refused is no refusal of all."""
        if isinstance(self.current_error, EventsRefused):
            return self._refusal_tracker.is_over_limit
        return isinstance(self.current_error, DestinationPaused)

    async def _dead_letter(self, invalid: list[ClaimedEntry]) -> None:
        """Dead-letter these entries at once: they must not block the others."""
        dead = [Dead(claimed.token, UNDECODABLE, "no event can be made of its detail") for claimed in invalid]
        await self._settlement_writer.settle(dead, self._bus.name)
        self._reporter.dead_lettered(invalid, dead)

    async def _acquire_permit(self) -> Permit:
        while True:
            await self._settlement_writer.wait_until_ready()
            permit = await self._circuit_breaker.acquire()
            if self._settlement_writer.is_ready:
                return permit
            self._circuit_breaker.release()

    def _start_request(self, permit: Permit, batch: Batch) -> None:
        request = asyncio.create_task(self._send(permit, batch))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)
        request.add_done_callback(lambda _: self.wake())

    async def _send(self, permit: Permit, batch: Batch) -> None:
        """Publish one batch and settle its entries. Entries without a response stay pending."""
        unsettled = {claimed.token for claimed in batch.entries}
        try:
            async for published in publish(self._bus, batch, self._refusal_tracker):
                settlements = self._apply_result(permit, published)
                await self._bus_check.save()
                unsettled -= {claimed.token for claimed in published.batch.entries}  # the writer owns them now
                await self._settlement_writer.settle(settlements, self._bus.name)
                self._reporter.settled(published, settlements, self._clock.now())
        except DestinationError as error:
            self._metrics.count_retried(error.code, len(unsettled))
            self._back_off(permit, error)
            if isinstance(error, BusMissing):
                await self._requeue()
        except Exception as error:
            # A fault of ours in one request must not end the stream: the entries stay pending, and are tried again.
            log.exception("request failed", exception_type=type(error).__name__)
            self._back_off(permit, DestinationUnavailable("a request failed inside the forwarder", code="internal"))
        finally:
            self._ledger.release(unsettled)
            self._circuit_breaker.release()

    def _apply_result(self, permit: Permit, published: PublishedBatch) -> list[Settlement]:
        """Apply a result to the circuit breaker, and return the settlement of each entry."""
        now = self._clock.now()
        outcomes = published.result.outcomes
        settlements = [
            decide(claimed, outcome, now) for claimed, outcome in zip(published.batch.entries, outcomes, strict=True)
        ]
        # The circuit opens before the outcomes are committed: another request could be sent in between.
        if unknown := next((outcome for outcome in outcomes if isinstance(outcome, Unknown)), None):
            self._circuit_breaker.record_failure(permit, FailureType.UNKNOWN)
            self.current_error = DestinationUnavailable(
                f"the outcome of a request is unknown: {unknown.reason}", code="unknown"
            )
            self._health.report(
                COMPONENT, State.DEGRADED, self.current_error.message, "it is sent again; a duplicate is possible"
            )
            self._metrics.count_unknown(len(outcomes))
            log.warning("possible duplicate", entries=len(outcomes), reason=unknown.reason)
        elif published.result.stop_error:
            self._refusal_tracker.record_outcomes(outcomes)
            self._back_off(permit, published.result.stop_error)
        else:
            self._circuit_breaker.record_success(permit)
            self.current_error = None
            self._report_outcomes(outcomes)
        self._bus_check.schedule()
        return settlements

    def _report_outcomes(self, outcomes: list[Outcome]) -> None:
        """Report the bus as HEALTHY, or DEGRADED while it refuses every entry with codes that end as dead letters."""
        refused = [
            each
            for each in outcomes
            if isinstance(each, Rejected) or (isinstance(each, Retry) and each.unclassified_attempt)
        ]
        accepted = [each for each in outcomes if isinstance(each, Accepted)]
        self._refusal_tracker.record_outcomes(accepted or refused)
        if refused and self._refusal_tracker.is_over_limit:
            reason = f"it refuses every event: {refused[0].code}: {refused[0].reason}"
            self._health.report(
                COMPONENT, State.DEGRADED, reason, "see `forwarder dead-letters`, and correct [event] and event_bus"
            )
        elif accepted or not self._refusal_tracker.is_over_limit:
            self._health.healthy(COMPONENT)

    async def _check_bus(self) -> None:
        if missing := await self._bus_check.verify():
            self.current_error = missing
            self._health.report(COMPONENT, State.FAILED, missing.message, missing.hint)
            await self._requeue()

    async def _requeue(self) -> None:
        await self._bus_check.requeue(self._requests - {asyncio.current_task()})

    def _back_off(self, permit: Permit, error: DestinationError) -> None:
        self.current_error = error
        if isinstance(error, DestinationPaused):
            wait = self._circuit_breaker.record_failure(permit, FailureType.REFUSAL)
            self._health.report(COMPONENT, State.FAILED, error.message, error.hint)
        else:
            is_from_bus = error.code not in LOCAL_ERROR_CODES
            wait = self._circuit_breaker.record_failure(
                permit, FailureType.OUTAGE if is_from_bus else FailureType.UNREACHABLE
            )
            self._health.report(COMPONENT, State.DEGRADED if is_from_bus else State.FAILED, error.message, error.hint)
        if wait is not None:
            log.warning("delivery backing off", code=error.code, reason=error.message, retry_in=round(wait, 1))

    async def _claim(self) -> list[ClaimedEntry]:
        try:
            return await self._ledger.claim(self._prefetch_entries, now=self._clock.now())
        except LedgerError as error:
            self._health.report("ledger", State.FAILED, error.message, error.hint)
            await self._clock.sleep(CLAIM_INTERVAL_SECONDS)
            return []

    async def _seconds_until_due(self) -> float:
        """Return the seconds until an entry is due, at most the interval in which other processes are noticed."""
        due = await self._ledger.next_due()
        if due is None:
            return CLAIM_INTERVAL_SECONDS
        return min(CLAIM_INTERVAL_SECONDS, max(0.0, (due - self._clock.now()).total_seconds()))
