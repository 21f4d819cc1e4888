"""The hand-over of the feeds of a process that reaches the ledger, but not the logs API."""

from datetime import timedelta

import structlog

from forwarder.clock import Clock
from forwarder.fleet_health import saved_components
from forwarder.health import Health
from forwarder.ledger import Fleet, FleetMember, Ledger
from forwarder.model import READY_STATES, State

log = structlog.get_logger("fleet")

UNREADABLE_AFTER = timedelta(minutes=1)
"""The time for which the source must have failed before the others poll the feeds of this process."""

BETWEEN_HANDOVERS_SECONDS = 600.0
"""The least time between two such hand-overs. The others may fail as well when they have the feeds."""


class FeedHandover:
    """The state of the hand-over, which outlives the settings: a reload must not take the feeds back."""

    def __init__(self, ledger: Ledger, clock: Clock, health: Health) -> None:
        self._ledger = ledger
        self._clock = clock
        self._health = health
        self._handed_over_at = float("-inf")
        self._cannot_read = False

    def update(self, fleet: Fleet) -> None:
        """Let the others poll the feeds of this process while it cannot read the logs API, and one of them can.

        Its zone may have no way out, or its key may be old. It goes on as well, to find out when it can read again.
        """
        now = self._clock.monotonic()
        cannot_read = self._is_source_failed() and any(map(_can_read, fleet.others))
        if cannot_read and not self._cannot_read:
            if now - self._handed_over_at < BETWEEN_HANDOVERS_SECONDS:
                return
            self._handed_over_at = now
            log.warning("feeds handed over, the logs API responds only to other processes")
        elif self._cannot_read and not cannot_read:
            log.info("feeds taken back")
        self._cannot_read = cannot_read
        self._ledger.set_cannot_read(cannot_read=cannot_read)

    def _is_source_failed(self) -> bool:
        """Return whether the source has failed for a minute, or since a hand-over: new settings begin with STARTING."""
        source = self._health.components.get("source")
        if source is None:
            return False
        if self._cannot_read:
            return source.state not in READY_STATES
        return source.state is State.FAILED and self._clock.now() - source.since >= UNREADABLE_AFTER


def _can_read(member: FleetMember) -> bool:
    source = saved_components(member.status).get("source")
    return source is not None and source.state in (State.HEALTHY, State.DEGRADED)
