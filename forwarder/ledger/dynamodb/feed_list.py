"""The list of all feeds: which there are, which of them are watched, and when they were discovered.

Each shard of the users is discovered by one process, which alone writes the flags of its feeds. `feeds_version` of the
ledger's item tells the others that the list has changed.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from forwarder.ledger.codec import from_micros, to_micros
from forwarder.ledger.dynamodb.feed_items import StoredFeed, decode_feed, encode_checkpoint_item
from forwarder.ledger.dynamodb.schema import FORMAT, KEEP_FORMAT, LEDGER, feed_key, feed_partitions, feed_text
from forwarder.ledger.dynamodb.store import boot_seconds
from forwarder.ledger.dynamodb.takeover import TakeOverStore
from forwarder.ledger.dynamodb.values import Item
from forwarder.ledger.fleet import ALL_SHARDS, shard_of
from forwarder.ledger.models import FeedStatus
from forwarder.model import Checkpoint, Feed

MAX_LIST_AGE_SECONDS = 60.0
"""The time for which a member uses a list of all feeds, which takes a request for each partition."""


class FeedListStore(TakeOverStore):
    """The operations on the list of feeds."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._listed: dict[Feed, StoredFeed] = {}
        self._listed_at: float | None = None
        self._listed_version = 0
        self._is_unannounced = False
        """True from before a change of the list until it is announced to the other processes."""

    async def add_feeds(
        self,
        new: Mapping[Feed, Checkpoint],
        *,
        discovered_at: datetime | None = None,
        shards: Collection[int] = ALL_SHARDS,
    ) -> None:
        stored = await self._table.get_many(feed_key(feed) for feed in new)
        missing = {feed: first for feed, first in new.items() if "ck" not in stored.get(feed_key(feed), {})}
        self._is_unannounced |= bool(missing)
        await asyncio.gather(*(self._add(feed, first) for feed, first in missing.items()))
        await self._announce_change()
        if discovered_at is not None and shards:
            await self._save_in_ledger_item({f"da{shard}": to_micros(discovered_at) for shard in shards})

    async def discovered_at(self, shard: int) -> datetime | None:
        item = await self._current_ledger_item()
        value = item.get(f"da{shard}", item.get("discovered_at"))
        return None if value is None else from_micros(value)

    async def save_watched(self, feeds: Collection[Feed], shards: Collection[int] = ALL_SHARDS) -> None:
        watched = set(feeds)
        for status in await self.feeds():
            is_watched = status.feed in watched or (status.watched and shard_of(status.feed.user_id) not in shards)
            if status.watched is is_watched:
                continue
            self._is_unannounced = True
            # The table may have been created again since the list was read.
            await self._table.update(
                feed_key(status.feed), "SET wa = :wa", condition="attribute_exists(ck)", wa=int(is_watched)
            )
            if stored := self._feeds.get(status.feed):
                stored.watched = is_watched
        await self._announce_change()

    async def feeds(self) -> list[FeedStatus]:
        """Return all feeds. A member returns those of others as they were in the last minute.

        Their checkpoints do not contain the floor of the ledger's item.
        """
        now, version = boot_seconds(), self._feeds_version
        if (
            self._member is None
            or self._listed_at is None
            or now - self._listed_at > MAX_LIST_AGE_SECONDS
            or version != self._listed_version
        ):
            found = await asyncio.gather(*(self._load_partition(each) for each in feed_partitions()))
            self._listed = {stored.feed: stored for part in found for stored in part}
            self._listed_at, self._listed_version = now, version
            for feed, stored in self._feeds.items():
                if feed in self._listed:  # another process may have changed the mark
                    stored.watched = self._listed[feed].watched
        every = self._listed | {feed: stored for feed, stored in self._feeds.items() if stored.changed_at is not None}
        return [
            FeedStatus(feed, self._with_skip(stored), stored.last_poll, stored.watched)
            for feed, stored in sorted(every.items(), key=lambda each: (each[0].workflow_id, each[0].user_id or ""))
        ]

    async def _announce_change(self) -> None:
        """Let the other processes read the list again after their next heartbeat, if it was changed."""
        if not self._is_unannounced:
            return
        self._listed_at = None
        self._is_unannounced = False  # another change may begin meanwhile
        changes = f"SET {KEEP_FORMAT} ADD feeds_version :one"
        try:
            item = await self._table.update(LEDGER, changes, ledger_format=FORMAT, one=1)
        except BaseException:
            self._is_unannounced = True
            raise
        self._ledger_item = item or self._ledger_item

    async def _add(self, feed: Feed, first: Checkpoint) -> None:
        skipped = self._ledger_item.get("skipped_at", 0)
        checkpoint = encode_checkpoint_item(feed, first)
        item: Item = {"f": feed_text(feed), "ck": checkpoint, "v": 0, "wa": 1, "skipped_at": skipped}
        await self._table.put(feed_key(feed), item, condition="attribute_not_exists(ck)")

    def _with_skip(self, stored: StoredFeed) -> Checkpoint:
        """Return the checkpoint with the local floor that the switch of the fleet has set since."""
        skipped = self._ledger_item.get("skipped_at", 0)
        is_newer = skipped > stored.skipped_at
        return replace(stored.checkpoint, local_floor=from_micros(skipped)) if is_newer else stored.checkpoint

    async def _load_partition(self, partition: str) -> list[StoredFeed]:
        """Return the feeds of a partition. An item without a checkpoint is no feed, and adding the feed replaces it."""
        return [decode_feed(item) async for item in self._table.query(partition) if "ck" in item]
