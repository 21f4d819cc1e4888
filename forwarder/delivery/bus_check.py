"""The check that the bus exists.

A missing bus responds to PutEvents as if it existed, and drops the events. The forwarder guarantees that events dropped
in this way are sent again:

1. `VerifiedBus` verifies the bus before the first request and then every minute. It publishes nothing if the bus is
   missing, or was not verified since the last failed request. It remembers the last settlement that was committed
   before the bus was verified.
2. `BusCheck.save` writes this settlement to the ledger before later ones. Entries that are settled later are
   unverified.
3. `BusCheck.verify` runs one minute after the last response, when unverified entries of another process were taken
   over, and when delivery drains. It verifies every bus that has unverified entries in the ledger, also the buses of
   earlier settings and of earlier processes.
4. `BusCheck.requeue` requeues the unverified entries of a missing bus.

A bus that can never be verified counts as verified, and the loss of its events is possible: the permission is denied,
`destination.verify` is false, or the bus of earlier settings is in another region or account.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

import structlog

from forwarder import heartbeat
from forwarder.aws.eventbridge import ELSEWHERE, Bus, Event, PublishResult
from forwarder.aws.request_errors import ALLOW_DESCRIBE, VERIFY_OFF
from forwarder.aws.responses import RequestRefusal
from forwarder.clock import Clock
from forwarder.delivery.settlement import SettlementWriter
from forwarder.errors import BusMissing, BusUnverified, DescribeDenied, DestinationError, DestinationUnavailable

log = structlog.get_logger("delivery")

VERIFY_INTERVAL_SECONDS = 60.0
"""The time after a verification for which a bus counts as verified."""

CHECK_DELAY_SECONDS = 60.0
"""The time from the last response of the bus to the next check."""

VERIFY_DISABLED = "verify-off"
"""Our code for a bus that is not verified because `destination.verify` is false."""


class VerifiedBus:
    """A bus that publishes only while it is known to exist, unless it cannot be verified.

    `committed_seq` returns the number of the last committed settlement.
    """

    def __init__(self, bus: Bus, clock: Clock, *, verify: bool, committed_seq: Callable[[], int] = lambda: 0) -> None:
        self._bus = bus
        self._clock = clock
        self._is_enabled = verify
        self._can_verify = True
        self._committed_seq = committed_seq
        self._verified_at: float | None = None
        self._lock = asyncio.Lock()
        self.name = bus.name
        self.verified_seq: int | None = None
        """The last settlement that was committed before the bus was last verified."""

    async def publish(
        self, events: Sequence[Event], *, is_owned: Callable[[], bool] = lambda: True
    ) -> PublishResult | RequestRefusal:
        """Call `verify`, then publish. Raise DestinationError and NotOwned as `verify` and `Bus.publish` do.

        If the last request was successful, a check that is not possible now raises nothing: DescribeEventBus may be
        throttled or down while PutEvents works. The events stay unverified, and are sent again if the bus is missing.
        """
        try:
            await self.verify()
        except DestinationUnavailable as error:
            if self._verified_at is None:
                raise
            self._verified_at = self._clock.monotonic()
            log.warning("bus verification failed, publishing continues", reason=error.message, hint=error.hint)
        heartbeat.beat()
        try:
            return await self._bus.publish(events, is_owned=is_owned)
        except DestinationError:
            self._verified_at = None
            raise

    async def verify(self, *, force: bool = False) -> None:
        """Check that the bus exists. Do nothing while the bus counts as verified, unless `force` is set.

        Do nothing either if the bus cannot be verified. Raise BusMissing if the bus is missing, or
        another DestinationError if the check fails. A denied check raises nothing, and disables further checks.
        """
        if not self._is_enabled:
            self._warn_disabled()
        if not self._is_due(force=force):
            return
        async with self._lock:
            heartbeat.beat()
            if not self._is_due(force=force):
                return
            now, committed_seq = self._clock.monotonic(), self._committed_seq()
            try:
                await self._bus.describe(self.name)
            except DescribeDenied:
                self._can_verify = False
                log.warning(
                    "bus verification denied, events to a missing bus would be lost and count as sent",
                    hint=f"{ALLOW_DESCRIBE}; {VERIFY_OFF}",
                )
            else:
                self.verified_seq = committed_seq
            self._verified_at = now

    async def verify_other(self, name: str) -> None:
        """Check that a bus of earlier settings exists. Raise DestinationError."""
        if not self._is_enabled:
            raise BusUnverified(f"{name} is not verified: destination.verify is false", code=VERIFY_DISABLED)
        await self._bus.describe(name)

    def _warn_disabled(self) -> None:
        if self._can_verify:
            self._can_verify = False
            log.warning(
                "bus not verified, events to a missing bus would be lost and count as sent",
                hint="set destination.verify = true if events:DescribeEventBus can be allowed on the bus",
            )

    def _is_due(self, *, force: bool) -> bool:
        is_fresh = (
            self._verified_at is not None and self._clock.monotonic() - self._verified_at < VERIFY_INTERVAL_SECONDS
        )
        return self._can_verify and (force or not is_fresh)


class BusCheck:
    """A check of every bus that has unverified entries in the ledger, including the buses of earlier settings."""

    def __init__(self, bus: VerifiedBus, settlement_writer: SettlementWriter, clock: Clock) -> None:
        self._bus = bus
        self._settlement_writer = settlement_writer
        self._clock = clock
        self._saved_seq: int | None = None
        self._is_requeuing = False
        self._next_check_at = clock.monotonic()  # for entries that an earlier process left unverified
        self._inherited = 0

    async def save(self) -> None:
        """Save the last settlement before the verification. The caller has to do this before later settlements."""
        verified_seq = self._bus.verified_seq
        if verified_seq is not None and verified_seq != self._saved_seq:
            await self._settlement_writer.save_bus_verified(self._bus.name, verified_seq)
            self._saved_seq = verified_seq

    def schedule(self) -> None:
        """Schedule the next check, after a response of the bus."""
        self._next_check_at = self._clock.monotonic() + CHECK_DELAY_SECONDS

    @property
    def is_due(self) -> bool:
        is_inherited = self._settlement_writer.inherited_unverified > self._inherited
        return is_inherited or self._clock.monotonic() >= self._next_check_at

    async def verify(self) -> BusMissing | None:
        """Verify every bus with unverified entries. Events to a missing bus are found even if no later event is sent.

        Requeue the entries of missing buses of earlier settings. Return the error if the bus in use is missing: the
        caller reports it and calls `requeue`.
        """
        self._next_check_at = float("inf")
        self._inherited = self._settlement_writer.inherited_unverified
        missing: BusMissing | None = None
        for name in await self._settlement_writer.unverified_buses():
            heartbeat.beat()
            if name != self._bus.name:
                await self._verify_other(name)
                continue
            committed_seq = await self._settlement_writer.last_settlement_seq()
            try:
                await self._bus.verify(force=True)
            except BusMissing as error:
                missing = error
            except DestinationError as error:
                self._report_failed(name, error)
            else:
                # A denied check also ends here, because a bus that can never be verified must not stay unverified.
                await self._settlement_writer.save_bus_verified(name, committed_seq)
        return missing

    async def requeue(self, other_requests: Collection[asyncio.Task[None]]) -> None:
        """Requeue the unverified entries of the bus in use. The caller has found that this bus is missing.

        If this process has verified the bus before, wait until `other_requests` are settled first, because a missing
        bus accepts their events too. Return at once if another call is requeuing.
        """
        if self._is_requeuing:
            return
        self._is_requeuing = True
        try:
            if other_requests and self._bus.verified_seq is not None:
                await heartbeat.wait_until_done(other_requests)
            await self.save()
            await self._requeue(self._bus.name)
        finally:
            self._is_requeuing = False

    async def _verify_other(self, name: str) -> None:
        committed_seq = await self._settlement_writer.last_settlement_seq()
        try:
            await self._bus.verify_other(name)
        except BusMissing:
            await self._requeue(name)
        except DestinationError as error:
            self._report_failed(name, error)
            if isinstance(error, DescribeDenied) or error.code in (ELSEWHERE, VERIFY_DISABLED):
                await self._settlement_writer.save_bus_verified(name, committed_seq)  # it can never be verified
        else:
            await self._settlement_writer.save_bus_verified(name, committed_seq)

    async def _requeue(self, name: str) -> None:
        if dropped := await self._settlement_writer.requeue(name):
            log.warning("events of missing bus requeued", bus=name, entries=dropped)

    def _report_failed(self, name: str, error: DestinationError) -> None:
        self._next_check_at = self._clock.monotonic() + CHECK_DELAY_SECONDS
        log.warning("bus verification failed", bus=name, reason=error.message, hint=error.hint)
