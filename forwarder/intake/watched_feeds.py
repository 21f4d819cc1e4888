"""The feeds that are watched: those of the settings and the discovered ones. Each is added to the ledger first."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from forwarder.alloy.discovery import DiscoveryResult
from forwarder.clock import Clock
from forwarder.intake.scheduler import Scheduler
from forwarder.intake.source_health import SourceHealth
from forwarder.ledger import ALL_SHARDS, ONE_PROCESS, Fleet, Ledger, shard_of
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
        self._lock = asyncio.Lock()
        self.changed_elsewhere = asyncio.Event()
        """Set when the feeds that other processes have discovered are to be read again."""
        self._fleet = ONE_PROCESS
        self._own_shards = ALL_SHARDS
        self._is_beside_others = False
        """True for a pass beside running processes, which know more than it does."""
        self._discovered_shards: frozenset[int] = frozenset()
        """The own shards that this process has discovered since they became its own. Only it marks their feeds."""
        self._discovered: list[Feed] = []
        """The discovered feeds: those of the discovered shards, and of the others those that the ledger marks."""
        self._has_rejoined = False
        """True if this process is another member since the last `refresh`."""
        self._feeds: list[Feed] = []
        """All feeds, also those that other processes poll."""
        self._is_assigned = False
        """False until the scheduler watches what `restore` found."""
        self._added: set[Feed] = set()
        """The feeds that are known to be in the ledger."""
        self._first: dict[Feed, Checkpoint] = {}
        """The floors with which the feeds were added. A new table gets them again."""
        self._saved: tuple[frozenset[Feed], frozenset[int]] | None = None
        """The feeds of own shards that were last saved as watched, and the shards of which these are all."""

    @property
    def own_shards(self) -> frozenset[int]:
        """Return the shards of the users that this process discovers. Without a fleet, these are all."""
        return self._own_shards

    @property
    def is_shared(self) -> bool:
        """Return whether other processes may discover feeds."""
        return self._fleet.is_shared

    @property
    def own_id(self) -> str:
        """Return the id of this process in the fleet."""
        return self._fleet.own_id

    def assign(self, fleet: Fleet) -> None:
        """Let the scheduler poll the feeds that belong to this process in `fleet`."""
        before, self._fleet = self._fleet, fleet
        if before.feeds_version != fleet.feeds_version:
            self.changed_elsewhere.set()
        if before.own_id != fleet.own_id:  # it was taken over, or the table is another one
            self._has_rejoined = True
            self._discovered_shards = frozenset()
            self._added = set()
        if (before.members, before.own_id) != (fleet.members, fleet.own_id):
            self._own_shards = fleet.own_shards
            # While this process cannot read, others discover its shards as well.
            self._discovered_shards &= frozenset() if fleet.cannot_read else self._own_shards
            self._assign()
            self.changed_elsewhere.set()  # this process may have to save which feeds of its shards are watched

    async def restore(self) -> None:
        """Watch the feeds of the settings, and with `discover` those that the ledger marks as watched.

        They are polled at once: the list of users may be unavailable for hours. Raise LedgerError if it cannot be used.
        """
        self._scheduler.reset()
        self._is_assigned = False
        async with self._lock:
            stored = await self._ledger.feeds()
            self._first = {each.feed: replace(each.checkpoint, watermark=None, full_scan_at=None) for each in stored}
            self._discovered = [each.feed for each in stored if each.watched] if self._settings.discover else []
            await self._watch()
        activities = {each.feed: each.checkpoint.activity for each in stored}
        self._scheduler.restore({feed: activity for feed, activity in activities.items() if activity is not None})

    async def watch_configured(self) -> None:
        """Watch the feeds of the settings, for a pass. Raise LedgerError if they cannot be saved."""
        fleet = await self._ledger.members()
        self._is_beside_others = any(each.id != fleet.own_id for each in fleet.members)
        async with self._lock:
            await self._watch()

    async def add_discovered(
        self, found: DiscoveryResult, shards: frozenset[int], started_at: datetime, *, own_id: str
    ) -> None:
        """Watch what a discovery of these shards found, and of other shards what the ledger marks as watched.

        `own_id` is the id of this process when the discovery began. Raise LedgerError if it cannot be saved.
        """
        async with self._lock:
            kept = [
                feed
                for feed in self._discovered
                if feed.user_id in found.unlisted_users
                or (self._has_rejoined and shard_of(feed.user_id) not in shards)  # see refresh
            ]
            elsewhere = await self._marked(shards, found.unlisted_users)
            self._discovered = list(dict.fromkeys([*found.feeds, *kept, *elsewhere]))
            if self._fleet.is_shared:
                self._saved = None  # another process may have changed a mark since then
            await self._watch(discovered_at=None if found.problem else started_at, shards=shards, own_id=own_id)

    async def refresh(self) -> None:
        """Watch what other processes have discovered, and no more what they did not find again. Raise LedgerError."""
        async with self._lock:
            shards, own_id = self._discovered_shards, self._fleet.own_id  # a heartbeat may change both meanwhile
            if self._settings.discover:
                marked = await self._marked(shards)
                # A new table has only the feeds that its processes have added again.
                known = [each for each in self._discovered if self._has_rejoined or shard_of(each.user_id) in shards]
                self._discovered = list(dict.fromkeys([*known, *marked]))
            await self._watch()
            if own_id == self._fleet.own_id:
                self._has_rejoined = False

    async def _marked(self, shards: frozenset[int], users: frozenset[str] = frozenset()) -> list[Feed]:
        """Return the feeds that the ledger marks as watched, of these users and of all other shards."""
        if shards == ALL_SHARDS and not users:
            return []
        return [
            each.feed
            for each in await self._ledger.feeds()
            if each.watched and (shard_of(each.feed.user_id) not in shards or each.feed.user_id in users)
        ]

    async def _watch(
        self, *, discovered_at: datetime | None = None, shards: frozenset[int] = frozenset(), own_id: str | None = None
    ) -> None:
        """Watch the feeds of the settings and the discovered ones. Add each new one to the ledger before it is polled.

        A feed that is added later would start later, and would miss the failures until then. `own_id` is the id of this
        process when a discovery began, or None without a discovery.
        """
        feeds, adding_id = list(dict.fromkeys([*self._settings.workflows, *self._discovered])), self._fleet.own_id
        new = set(feeds).difference(self._added)
        if new or discovered_at is not None:
            now = self._clock.now()
            times = {
                shard: await self._ledger.discovered_at(shard) for shard in {shard_of(each.user_id) for each in new}
            }
            checkpoints = {
                feed: self._first.get(feed) or self._initial_checkpoint(feed, now, times[shard_of(feed.user_id)])
                for feed in new
            }
            self._first |= checkpoints
            await self._ledger.add_feeds(checkpoints, discovered_at=discovered_at, shards=shards)
        if adding_id == self._fleet.own_id:
            self._added = set(feeds)
        self._first = {feed: self._first[feed] for feed in feeds if feed in self._first}
        if own_id == self._fleet.own_id and not self._fleet.cannot_read:
            self._discovered_shards = shards & self._own_shards
        # A discovery ends the failed last polls of removed feeds.
        if set(feeds) != set(self._feeds) or own_id is not None or not self._is_assigned:
            self._feeds, self._is_assigned = feeds, True
            self._assign()
        await self._save()
        if not feeds and not self._settings.discover:
            self._source_health.report_no_workflows()

    async def save(self) -> None:
        """Save which feeds are polled, if that changed. A removed feed is among them until its last poll.

        Raise LedgerError. The next change of the feeds saves them then.
        """
        async with self._lock:
            await self._save()

    async def _save(self) -> None:
        to_poll = self._scheduler.feeds_to_poll
        # Discovered feeds may come and go for months, and feeds move to other processes and back.
        self._forget_all_except(to_poll)
        # A shard that was never discovered here may have feeds that its last process added or removed a moment ago.
        shards = self._discovered_shards if self._settings.discover else self._own_shards
        feeds = frozenset(
            each
            for each in to_poll.union(self._feeds)
            if (shard := shard_of(each.user_id)) in shards
            or (shard in self._own_shards and each in self._settings.workflows)
        )
        saved = (feeds, shards if self._may_unwatch else frozenset())
        if saved != self._saved:
            await self._ledger.save_watched(*saved)
            self._saved = saved

    @property
    def _may_unwatch(self) -> bool:
        """Return whether feeds that this process does not watch are not watched at all.

        While processes have different feeds in their settings, those of the others must stay marked.
        """
        return len(self._fleet.feed_groups) <= 1 and not self._is_beside_others

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
            # A shard that moves to another process is discovered within two intervals, on another clock.
            earlier = now - self._settings.discover_interval * (2 if self._fleet.is_shared else 1)
            since -= now - (earlier if discovered_at is None else min(earlier, discovered_at))
        return Checkpoint(local_floor=since)
