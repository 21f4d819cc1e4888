"""The feeds that are watched: those of the settings and the discovered ones. Each is added to the ledger first."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from forwarder.clock import Clock
from forwarder.intake.scheduler import Scheduler
from forwarder.intake.source_health import SourceHealth
from forwarder.ledger import ONE_PROCESS, Fleet, Ledger
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint, Feed
from forwarder.settings.sections import SourceSettings


class WatchedFeeds:
    """The feeds that all processes watch. The scheduler gets those that are assigned to this process."""

    def __init__(
        self,
        ledger: Ledger,
        settings: SourceSettings,
        clock: Clock,
        scheduler: Scheduler,
        source_health: SourceHealth,
        metrics: Metrics,
        forget_all_except: Callable[[frozenset[Feed]], None],
    ) -> None:
        """Watch nothing yet. `forget_all_except` removes what is stored of the other feeds.

        They were removed, or another process polls them and saves its own polls and observations.
        """
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._scheduler = scheduler
        self._source_health = source_health
        self._metrics = metrics
        self._forget_all_except = forget_all_except
        self._fleet = ONE_PROCESS
        self._feeds: list[Feed] = []
        """All feeds, also those that other processes poll."""
        self._saved: frozenset[Feed] | None = None
        """The feeds that the ledger marks as watched, or None before the first save."""

    def assign(self, fleet: Fleet) -> None:
        """Let the scheduler poll the feeds that belong to this process in `fleet`."""
        self._fleet = fleet
        self._assign()

    async def restore(self) -> None:
        """Watch the feeds of the settings, and with `discover` those that the ledger marks as watched.

        They are polled at once: the list of users may be unavailable for hours. Raise LedgerError if it cannot be used.
        """
        self._scheduler.reset()
        stored = await self._ledger.feeds()
        await self.watch([each.feed for each in stored if each.watched] if self._settings.discover else [])
        activities = {each.feed: each.checkpoint.activity for each in stored}
        self._scheduler.restore({feed: activity for feed, activity in activities.items() if activity is not None})

    async def watch(self, found: Sequence[Feed], *, discovered_at: datetime | None = None) -> None:
        """Watch the feeds of the settings and `found`. Add each new feed to the ledger before any feed is polled.

        A feed that is added later would start later, and would miss the failures until then. Raise LedgerError.
        """
        feeds = list(dict.fromkeys([*self._settings.workflows, *found]))
        last_discovery_at = await self._ledger.discovered_at()
        now, known = self._clock.now(), set(self._feeds)
        checkpoints = {
            feed: self._initial_checkpoint(feed, now, last_discovery_at) for feed in feeds if feed not in known
        }
        if checkpoints or discovered_at is not None:
            await self._ledger.add_feeds(checkpoints, discovered_at=discovered_at)
        self._feeds = feeds
        self._assign()
        await self.save()
        if not feeds and not self._settings.discover:
            self._source_health.report_no_workflows()

    async def save(self) -> None:
        """Save which feeds are polled, if that changed. A removed feed is among them until its last poll.

        Raise LedgerError. The next change of the feeds saves them then.
        """
        own = self._scheduler.feeds_to_poll
        # Discovered feeds may come and go for months, and feeds move to other processes and back.
        self._forget_all_except(own)
        feeds = own.union(self._feeds)
        if feeds != self._saved:
            await self._ledger.save_watched(feeds)
            self._saved = feeds

    def _assign(self) -> None:
        own = [feed for feed in self._feeds if self._fleet.is_own(feed)]
        self._scheduler.watch(own, elsewhere=set(self._feeds).difference(own))
        self._source_health.watch(own)
        self._metrics.set_feeds(own=len(own), other=len(self._feeds) - len(own))
        if self._feeds and not own:  # there are more processes than feeds
            self._source_health.report(0)

    def _initial_checkpoint(self, feed: Feed, now: datetime, discovered_at: datetime | None) -> Checkpoint:
        """Return the checkpoint of a feed that was never polled."""
        start = self._settings.start_from
        if start == "beginning":
            return Checkpoint()
        if isinstance(start, datetime):
            return Checkpoint(floor=start)
        since = now - start if isinstance(start, timedelta) else now
        if feed not in self._settings.workflows:
            # The feed may have existed since shortly after the last discovery, which did not find it.
            one_interval_ago = now - self._settings.discover_interval
            since -= now - (one_interval_ago if discovered_at is None else min(one_interval_ago, discovered_at))
        return Checkpoint(local_floor=since)
