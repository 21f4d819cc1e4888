"""The check that a bus existed when it accepted events: a missing bus responds as if it existed, and drops them.

So accepted events stay unverified until the bus is verified again. If it is missing, they are requeued. The ledger
keeps the verified settlement of each bus, so the check survives a restart, and settings that name another bus.
"""

import structlog

from forwarder import heartbeat
from forwarder.aws.eventbridge import UNVERIFIABLE_CODES, Bus
from forwarder.clock import Clock
from forwarder.delivery.settlement import SettlementWriter
from forwarder.errors import BusMissing, DescribeDenied, DestinationError

log = structlog.get_logger("delivery")

CHECK_DELAY_SECONDS = 60.0
"""The delay of the check after the last response."""


class BusCheck:
    """The check of one bus, and of those that were set before it."""

    def __init__(self, bus: Bus, settlement_writer: SettlementWriter, clock: Clock) -> None:
        self._bus = bus
        self._settlement_writer = settlement_writer
        self._clock = clock
        self._saved_seq: int | None = None
        self._next_check_at = clock.monotonic()  # for events left unverified by an earlier process

    async def save(self) -> None:
        """Save the verified settlement before later ones: if the bus turns out to be missing, those are sent again."""
        verified_seq = self._bus.verified_seq
        if verified_seq is not None and verified_seq != self._saved_seq:
            await self._settlement_writer.save_bus_verified(self._bus.name, verified_seq)
            self._saved_seq = verified_seq

    def schedule(self) -> None:
        """Schedule the next check: the bus has just responded."""
        self._next_check_at = self._clock.monotonic() + CHECK_DELAY_SECONDS

    @property
    def is_due(self) -> bool:
        return self._clock.monotonic() >= self._next_check_at

    async def verify(self) -> BusMissing | None:
        """Verify every unverified bus, since nothing may be sent for hours, or ever again.

        Return the error if our own bus is missing: its events have to be requeued then.
        """
        self._next_check_at = float("inf")
        missing: BusMissing | None = None
        for name in await self._settlement_writer.unverified_buses():
            heartbeat.beat()
            if name != self._bus.name:
                await self._verify_other_bus(name)
                continue
            committed_seq = self._settlement_writer.committed_seq
            try:
                await self._bus.verify(force=True)
            except BusMissing as error:
                missing = error
            except DestinationError as error:
                self._report_unverified(name, error)
            else:
                # Also if the check is denied, which was logged: what can never be verified does not stay unverified.
                await self._settlement_writer.save_bus_verified(name, committed_seq)
        return missing

    async def requeue(self, name: str) -> None:
        """Requeue what a missing bus accepted since it was last verified."""
        if dropped := await self._settlement_writer.requeue(name):
            log.warning("events of missing bus requeued", bus=name, entries=dropped)

    async def _verify_other_bus(self, name: str) -> None:
        committed_seq = self._settlement_writer.committed_seq
        try:
            await self._bus.verify_by_name(name)
        except BusMissing:
            await self.requeue(name)
        except DestinationError as error:
            self._report_unverified(name, error)
            if isinstance(error, DescribeDenied) or error.code in UNVERIFIABLE_CODES:
                await self._settlement_writer.save_bus_verified(name, committed_seq)  # it stays unverifiable
        else:
            await self._settlement_writer.save_bus_verified(name, committed_seq)

    def _report_unverified(self, name: str, error: DestinationError) -> None:
        self._next_check_at = self._clock.monotonic() + CHECK_DELAY_SECONDS
        log.warning("bus verification failed", bus=name, reason=error.message, hint=error.hint)
