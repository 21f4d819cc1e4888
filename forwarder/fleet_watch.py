"""The heartbeats of this process on a shared ledger, and the changes of the fleet that they show."""

import asyncio
from collections.abc import Callable
from hashlib import blake2b

import structlog

from forwarder import heartbeat
from forwarder.clock import Clock
from forwarder.errors import LedgerError
from forwarder.feed_handover import FeedHandover
from forwarder.health import Health
from forwarder.ledger import Fleet, FleetMember, Ledger
from forwarder.model import State
from forwarder.settings.sections import SourceSettings

log = structlog.get_logger("fleet")


DIFFERENT_FEEDS_HINT = (
    "make base_url, version, workflows and discover of [source] equal; until then, each group polls its feeds alone"
)

FIRST_WAIT_SECONDS = 1.0
"""Time before the first heartbeat of `keep_alive`, so that a process with short requests ends without one."""


def feed_group(source: SourceSettings) -> str:
    """Return a digest of the settings that name the feeds to watch."""
    workflows = sorted((feed.workflow_id, feed.user_id or "") for feed in source.workflows)
    named = (source.base_url, source.version, source.discover, workflows)
    return blake2b(repr(named).encode(errors="surrogatepass"), digest_size=6).hexdigest()


async def keep_alive(ledger: Ledger, interval_seconds: float, clock: Clock, health: Health) -> None:
    """Write heartbeats until cancelled, while the requests of this process end and its loops do not run.

    Without heartbeats, another process would take over, and send the events in flight again.
    """
    await clock.sleep(min(FIRST_WAIT_SECONDS, interval_seconds))
    while True:
        try:
            await ledger.keep_alive()
        except LedgerError as error:
            health.report("ledger", State.FAILED, error.message, error.hint)
        await clock.sleep(interval_seconds)


class FleetWatch:
    """A loop that writes heartbeats, and reports each change of the fleet to `on_change`."""

    def __init__(
        self,
        ledger: Ledger,
        interval_seconds: float,
        clock: Clock,
        health: Health,
        handover: FeedHandover,
        on_change: Callable[[Fleet], None],
    ) -> None:
        self._ledger = ledger
        self._handover = handover
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._health = health
        self._on_change = on_change
        self._fleet: Fleet | None = None
        self._nobody_silent = asyncio.Event()
        self._lock = asyncio.Lock()

    @property
    def silent(self) -> tuple[FleetMember, ...]:
        """Return the processes that may have been killed, as of the last heartbeat."""
        return () if self._fleet is None else self._fleet.silent

    async def wait_until_nobody_is_silent(self) -> None:
        """Wait until each silent process has written another heartbeat, or was taken over. `run` writes heartbeats."""
        await self._nobody_silent.wait()

    async def beat(self) -> None:
        """Write a heartbeat now. The first one joins the fleet. Raise LedgerError if it cannot be written.

        Two at once would have the same number, so that the next one is refused as that of a member that was taken over.
        """
        async with self._lock:
            fleet = await self._ledger.beat()
            self._apply(fleet)
            self._handover.update(fleet)

    async def run(self) -> None:
        """Write heartbeats until cancelled. An outage of the ledger is reported, and ends no loop."""
        while True:
            heartbeat.beat(self._interval_seconds)
            await self._clock.sleep(self._interval_seconds)
            heartbeat.beat()
            try:
                await self.beat()
            except LedgerError as error:
                self._health.report("ledger", State.FAILED, error.message, error.hint)

    def _apply(self, fleet: Fleet) -> None:
        before, self._fleet = self._fleet, fleet
        if fleet.silent:
            self._nobody_silent.clear()
        else:
            self._nobody_silent.set()
        if before is None or (before.members, before.enabled, before.own_id) != (
            fleet.members,
            fleet.enabled,
            fleet.own_id,
        ):
            if fleet.size > 1 or (before is not None and before.size > 1):
                log.info("fleet changed", members=[each.name for each in fleet.members])
            if len(fleet.feed_groups) > 1:
                groups = [[each.name for each in group] for group in fleet.feed_groups]
                log.warning("processes watch different feeds", groups=groups, hint=DIFFERENT_FEEDS_HINT)
            self._on_change(fleet)
        elif before.feeds_version != fleet.feeds_version:
            self._on_change(fleet)
