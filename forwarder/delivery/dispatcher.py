"""The delivery loop. It publishes pending entries, and settles each by its own outcome."""

import asyncio
from datetime import timedelta

import structlog

from forwarder import heartbeat
from forwarder.aws.eventbridge import Bus
from forwarder.clock import Clock
from forwarder.delivery.batch import MAX_ENTRIES, Batch, Batcher, EventTemplate
from forwarder.delivery.bus_check import BusCheck, VerifiedBus
from forwarder.delivery.bus_health import BusHealth
from forwarder.delivery.circuit_breaker import CircuitBreaker, Permit
from forwarder.delivery.refusal_tracker import RefusalTracker
from forwarder.delivery.reporting import DeliveryReporter
from forwarder.delivery.request_sender import RequestSender
from forwarder.delivery.settlement import SettlementWriter
from forwarder.errors import DestinationError, LedgerError
from forwarder.health import Health, NextAttempt
from forwarder.ledger import UNDECODABLE, Dead, Ledger
from forwarder.metrics import Metrics
from forwarder.model import ClaimedEntry, State
from forwarder.settings import Settings

log = structlog.get_logger("delivery")

CLAIM_INTERVAL_SECONDS = 1.0
"""The interval at which entries that other processes recorded or requeued are claimed."""

PREFETCH_FACTOR = 8
"""The number of full batches that one claim loads, for each request that may be in flight.

A claim is slow: it waits for the ledger's commits, and skips every entry that is in flight.
"""

ABANDONED = "they did not end within run.shutdown_grace"
ABANDONED_HINT = "their entries stay pending and are sent again; a longer run.shutdown_grace gives requests more time"


class Dispatcher:
    """The dispatcher for one set of settings. `wake` is called when new entries are pending."""

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
        self._batcher = Batcher(EventTemplate.of(settings), settings.destination.max_request_bytes)
        self._circuit_breaker = CircuitBreaker(settings.destination.concurrency, clock)
        self._prefetch_entries = PREFETCH_FACTOR * MAX_ENTRIES * settings.destination.concurrency
        self._requests: set[asyncio.Task[None]] = set()
        self._wake_event = asyncio.Event()
        self._bus_check = BusCheck(self._bus, settlement_writer, clock)
        self._reporter = DeliveryReporter(clock, metrics)
        self._refusal_tracker = RefusalTracker()
        self._bus_health = BusHealth(health, clock)
        self._sender = RequestSender(
            bus=self._bus,
            bus_check=self._bus_check,
            bus_health=self._bus_health,
            circuit_breaker=self._circuit_breaker,
            refusal_tracker=self._refusal_tracker,
            ledger=ledger,
            settlement_writer=settlement_writer,
            reporter=self._reporter,
            clock=clock,
            requeue=self._requeue,
        )
        self._verify_requested = False

    @property
    def current_error(self) -> DestinationError | None:
        """Return the error of the last failed request or check, or None after a later valid response.

        If the bus accepts the other entries, return the error of an entry whose requests fail.
        """
        return self._bus_health.current_error or self._bus_health.failing_entry_error

    def wake(self) -> None:
        self._wake_event.set()

    def next_attempt(self) -> NextAttempt | None:
        """Return the next attempt after a failed request or check, or None if delivery waits for none."""
        if wait := self._circuit_breaker.wait_seconds:
            return NextAttempt(self._clock.now() + timedelta(seconds=wait))
        is_idle = not self._requests and not self._batcher
        return NextAttempt(None) if self._bus_health.current_error and is_idle else None

    def retry_now(self) -> None:
        """End the backoff of the circuit breaker. If nothing is pending, verify the bus."""
        self._verify_requested = True
        self._circuit_breaker.retry_now()
        self.wake()

    async def run(self, *, until_empty: bool = False) -> None:
        """Run until cancelled. With `until_empty`, return when nothing is pending or when the bus refuses everything.

        Requests can still be in flight after the return. `drain` waits for them.
        """
        await self._verify()
        try:
            while await self._fill_batcher(until_empty=until_empty):
                permit = await self._acquire_permit()
                batch = self._batcher.next_batch(
                    1 if self._circuit_breaker.single_entry_mode else MAX_ENTRIES,
                    is_sent_alone=self._refusal_tracker.has_failed_alone,
                )
                tokens = [claimed.token for claimed in batch.entries]
                if self._ledger.owns(tokens):
                    self._start_request(permit, batch)
                else:  # another process may have taken them over while they waited
                    self._circuit_breaker.release()
                    self._ledger.release(tokens)
        finally:
            self._ledger.release([claimed.token for claimed in self._batcher.drain()])

    async def _verify(self) -> None:
        """Verify the bus before the first request, or on request. Report a failure in health, and raise nothing."""
        try:
            await self._bus.verify()
        except DestinationError as error:
            self._bus_health.report_failed_check(error)
        else:
            self._bus_health.report_verified()
            await self._bus_check.save()

    async def drain(self) -> None:
        """Wait until the requests in flight are settled, then verify the bus.

        If cancelled, abandon the requests. Their entries stay pending, and are sent again.
        """
        try:
            while self._requests:
                await asyncio.wait(self._requests)
        except asyncio.CancelledError:
            unfinished = list(self._requests)
            for request in unfinished:
                request.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
            self._reporter.flush()
            log.warning("requests abandoned", requests=len(unfinished), reason=ABANDONED, hint=ABANDONED_HINT)
            raise
        self._reporter.flush()
        await self._check_bus()

    async def _fill_batcher(self, *, until_empty: bool) -> bool:
        """Wait until there is something to send. Return False if there is nothing more to wait for."""
        while not (until_empty and self._bus_health.should_give_up):
            heartbeat.beat()
            self._wake_event.clear()
            if not self._batcher and (invalid := self._batcher.add(await self._claim())):
                await self._dead_letter(invalid)
            if self._batcher:
                self._verify_requested = False  # the next request verifies the bus, if it has to
                return True
            if self._verify_requested:
                self._verify_requested = False
                await self._verify()
            if self._bus_check.is_due:
                await self._check_bus()
            if until_empty and not self._requests and await self._ledger.next_due() is None:
                return False
            self._reporter.flush_if_due()
            self._bus_health.expire_failing_entries()
            await self._clock.wait(self._wake_event, await self._seconds_until_due())
        return False

    async def _dead_letter(self, invalid: list[ClaimedEntry]) -> None:
        """Dead-letter entries from which no event can be built, so that they do not block the others."""
        dead = [Dead(claimed.token, UNDECODABLE, "no event can be built from its detail") for claimed in invalid]
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
        request = asyncio.create_task(self._sender.send(permit, batch))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)
        request.add_done_callback(lambda _: self.wake())

    async def _check_bus(self) -> None:
        if missing := await self._bus_check.verify():
            self._bus_health.report_failed_check(missing)
            await self._requeue()

    async def _requeue(self) -> None:
        await self._bus_check.requeue(self._requests - {asyncio.current_task()})

    async def _claim(self) -> list[ClaimedEntry]:
        try:
            return await self._ledger.claim(self._prefetch_entries, now=self._clock.now())
        except LedgerError as error:
            self._report_ledger(error)
            await self._clock.sleep(CLAIM_INTERVAL_SECONDS)
            return []

    def _report_ledger(self, error: LedgerError) -> None:
        self._health.report("ledger", State.FAILED, error.message, error.hint)

    async def _seconds_until_due(self) -> float:
        """Return the seconds until the next entry is due, at most CLAIM_INTERVAL_SECONDS."""
        try:
            due = await self._ledger.next_due()
        except LedgerError as error:  # an outage must not end the loop: the delay of its restart grows
            self._report_ledger(error)
            return CLAIM_INTERVAL_SECONDS
        if due is None:
            return CLAIM_INTERVAL_SECONDS
        return min(CLAIM_INTERVAL_SECONDS, max(0.0, (due - self._clock.now()).total_seconds()))
