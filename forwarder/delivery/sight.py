"""Whether the bus was there for what it accepted: one that does not exist answers as if it did, and drops the events.

So what it accepted stays in doubt until it is seen again, or until it is missed, and then all of that is owed once
more. The ledger keeps the doubt, of each bus by itself: it outlives the process, and settings that name another bus.
"""

import structlog

from forwarder.aws.bus import NEVER_VERIFIED, Bus
from forwarder.clock import Clock
from forwarder.delivery.settle import Settler
from forwarder.errors import BusMissing, DescribeDenied, DestinationError

log = structlog.get_logger("delivery")

LOOK_BACK = 60.0
"""Seconds after the last answer, until the bus is asked whether it was there to give it."""


class Sight:
    """Of one bus, and of those that were set before it."""

    def __init__(self, bus: Bus, settler: Settler, clock: Clock) -> None:
        self._bus = bus
        self._settler = settler
        self._clock = clock
        self._noted: int | None = None
        self._look_back_at = clock.monotonic()  # at what was left in doubt before us

    async def note(self) -> None:
        """Before what the bus accepted since: should it turn out to be missing, that is what has to be sent again."""
        seen = self._bus.seen
        if seen is not None and seen != self._noted:
            await self._settler.note_bus(self._bus.name, seen)
            self._noted = seen

    def answered(self) -> None:
        """The bus has just said that it accepted something."""
        self._look_back_at = self._clock.monotonic() + LOOK_BACK

    @property
    def is_due(self) -> bool:
        return self._clock.monotonic() >= self._look_back_at

    async def look_back(self) -> BusMissing | None:
        """Look for every bus in doubt, for nothing may be sent for hours, or ever again; what is said where ours is
        missing, which `owe_again` has to follow.
        """
        self._look_back_at = float("inf")
        missing: BusMissing | None = None
        for name in await self._settler.buses_in_doubt():
            if name != self._bus.name:
                await self._look_back_at_another(name)
                continue
            settled = self._settler.settled
            try:
                await self._bus.look(anew=True)
            except BusMissing as error:
                missing = error
            except DestinationError as error:
                self._cannot_tell(name, error)
            else:
                # Also where we may not look any more, which was said: what nobody will ever tell is in doubt no longer.
                await self._settler.note_bus(name, settled)
        return missing

    async def owe_again(self, name: str) -> None:
        """What a missing bus accepted since it was seen is owed once more."""
        if dropped := await self._settler.owe_again(name):
            log.warning("the missing bus had accepted events; they are sent again", bus=name, entries=dropped)

    async def _look_back_at_another(self, name: str) -> None:
        settled = self._settler.settled
        try:
            await self._bus.look_for(name)
        except BusMissing:
            await self.owe_again(name)
        except DestinationError as error:
            self._cannot_tell(name, error)
            if isinstance(error, DescribeDenied) or error.code in NEVER_VERIFIED:
                await self._settler.note_bus(name, settled)  # it was said once; asking for ever tells no more
        else:
            await self._settler.note_bus(name, settled)

    def _cannot_tell(self, name: str, error: DestinationError) -> None:
        self._look_back_at = self._clock.monotonic() + LOOK_BACK
        log.warning("cannot tell whether a bus has what it accepted last", bus=name, why=error.message, mend=error.hint)
