"""The checkpoints of the feeds, and the switch.

A checkpoint is kept in memory, and written whole and late: losing it only means that executions are read again. Its
version refuses a write over another member's.
"""

import asyncio
import secrets
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog

from forwarder.errors import LedgerError
from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.feed_items import StoredFeed, decode_feed, encode_checkpoint_item
from forwarder.ledger.dynamodb.feed_list import FeedListStore
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.schema import FORMAT, KEEP_FORMAT, LEDGER, feed_key
from forwarder.ledger.fleet import Fleet
from forwarder.ledger.models import PollResult
from forwarder.model import Checkpoint, Feed

log = structlog.get_logger("fleet")

MAX_CHECKPOINT_AGE = timedelta(minutes=10)
"""A checkpoint in memory is written at most this long after it changed."""


class FeedStore(FeedListStore):
    """The operations on the checkpoints of feeds."""

    async def beat(self) -> Fleet:
        fleet = await super().beat()
        try:
            await self._release_feeds(fleet)
        except LedgerError as error:  # the next heartbeat tries again, and the change of the fleet counts now
            log.warning("checkpoints not saved for their new owners", reason=error.message, hint=error.hint)
        return fleet

    async def checkpoint(self, feed: Feed) -> Checkpoint:
        stored, now = await self._stored(feed), self._now()
        checkpoint, stored.scan_skipped_at = self._with_floors(stored), self._ledger_item.get("skipped_at", 0)
        if checkpoint.local_floor is not None and checkpoint.local_floor > now:
            return replace(checkpoint, local_floor=now)  # the clock of another machine would hide failures until then
        return checkpoint

    async def require_feed(self, feed: Feed) -> None:
        """Raise LedgerError if the feed was never added."""
        await self._stored(feed)

    def keep_checkpoint(self, feed: Feed, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint of a feed in memory. Its floor only rises. Another member's feed is unchanged."""
        if (stored := self._feeds.get(feed)) is None:
            return
        had_scan = stored.checkpoint.full_scan_at is not None
        floors = [each for each in (checkpoint.floor, stored.checkpoint.floor) if each is not None]
        stored.checkpoint = replace(checkpoint, floor=max(floors, default=None))
        stored.skipped_at = max(stored.skipped_at, stored.scan_skipped_at)
        # The first scan is written with the next heartbeat: until then, the feed looks as if it was never read.
        changed_at = self._now() if had_scan else self._now() - 2 * MAX_CHECKPOINT_AGE
        stored.changed_at = stored.changed_at or changed_at

    def keep_poll(self, feed: Feed, poll: PollResult) -> None:
        """Replace the last poll of a feed in memory. It is written with the checkpoint, or soon with a new error."""
        if stored := self._feeds.get(feed):
            is_new_error = poll.error != (stored.last_poll.error if stored.last_poll else "")
            changed_at = self._now() - 2 * MAX_CHECKPOINT_AGE if is_new_error else self._now()
            stored.last_poll = poll
            stored.changed_at = min(stored.changed_at or changed_at, changed_at)

    async def save_switch(self, *, enabled: bool, skip: bool, now: datetime) -> bool | None:  # noqa: ARG002  # the protocol names them
        """Do nothing: a process that is switched off leaves, and the others go on."""
        return None

    async def save_fleet_switch(self, *, enabled: bool, skip: bool, now: datetime) -> bool | None:
        value = (await self._load_ledger_item()).get("en")
        before, token = None if value is None else bool(value), secrets.token_hex(6)
        if before is enabled:
            return before
        changes = f"SET en = :en, switch_token = :token, {KEEP_FORMAT}"
        values: dict[str, Any] = {"en": int(enabled), "token": token, "ledger_format": FORMAT}
        if enabled and before is False and skip:
            # The next poll of each feed converts the local floor to a floor on the clock of the API.
            changes, values["skipped_at"] = f"{changes}, skipped_at = :skipped_at", to_micros(now)
        condition = "attribute_not_exists(en) OR en <> :en"
        item = await self._table.update(LEDGER, changes, condition=condition, **values)
        self._ledger_item = item or await self._load_ledger_item()
        # After a lost reply, the condition fails although this call has saved the switch.
        return before if self._ledger_item.get("switch_token") == token else enabled

    async def saved_switch(self) -> bool | None:
        value = (await self._current_ledger_item()).get("en")
        return None if value is None else bool(value)

    async def _stored(self, feed: Feed) -> StoredFeed:
        if (stored := self._feeds.get(feed)) is None:
            item = await self._table.get(feed_key(feed))
            if item is None or "ck" not in item:
                raise LedgerError(f"the ledger has no feed {feed}")
            stored = decode_feed(item)
            if self._fleet(self._member).is_own(feed) and not self._cannot_read:
                self._feeds[feed] = stored
        return stored

    def _with_floors(self, stored: StoredFeed) -> Checkpoint:
        """Return the checkpoint with the floors that the ledger's item sets for all feeds."""
        checkpoint, floor = self._with_skip(stored), self._floor
        if floor is not None and (checkpoint.floor is None or checkpoint.floor < floor):
            return replace(checkpoint, floor=floor)
        return checkpoint

    async def _begin_again(self, member: Member) -> None:
        """Add the feeds again, to be read from their floors on: what is still listed is unknown in the new table."""
        first = {
            stored.feed: replace(self._with_floors(stored), watermark=None, full_scan_at=None)
            for stored in self._feeds.values()
            if stored.watched
        }
        self._is_unannounced |= bool(first)
        await asyncio.gather(*(self._add(feed, checkpoint) for feed, checkpoint in first.items()))
        await self._announce_change()
        await super()._begin_again(member)

    def _drop(self, member: Member) -> None:
        """Forget the checkpoints in memory, too: others have read these feeds since, or the table is another one."""
        super()._drop(member)
        if self._member is None:
            self._feeds.clear()
            self._listed_at = None

    async def _before_heartbeat(self, member: Member) -> None:
        await super()._before_heartbeat(member)
        before = self._now() - MAX_CHECKPOINT_AGE
        old = [each for each in self._feeds.values() if each.changed_at is not None and each.changed_at < before]
        if old:
            await self._do_beside_heartbeats("checkpoints", lambda: self._write_checkpoints(old))

    async def _before_draining(self, member: Member) -> None:
        await super()._before_draining(member)
        changed = [each for each in self._feeds.values() if each.changed_at is not None]
        await self._do_beside_heartbeats("checkpoints", lambda: self._write_checkpoints(changed))

    async def _before_leaving(self, member: Member) -> None:
        await super()._before_leaving(member)
        await self._write_checkpoints([each for each in self._feeds.values() if each.changed_at is not None])

    async def _release_feeds(self, fleet: Fleet) -> None:
        """Write the checkpoints of feeds that are assigned to another member by now, and forget them.

        A process that cannot read the logs API still owns its feeds in its own view, but the others poll them.
        """
        released = [each for each in self._feeds.values() if self._cannot_read or not fleet.is_own(each.feed)]
        if released:
            await self._do_beside_heartbeats("released feeds", lambda: self._write_and_forget(released))

    async def _write_and_forget(self, released: Collection[StoredFeed]) -> None:
        await self._write_checkpoints([each for each in released if each.changed_at is not None])
        for each in released:
            self._feeds.pop(each.feed, None)

    async def _write_checkpoints(self, feeds: Collection[StoredFeed]) -> None:
        await asyncio.gather(*(self._write_checkpoint(each) for each in feeds))

    async def _write_checkpoint(self, stored: StoredFeed) -> None:
        changed_at, stored.changed_at = stored.changed_at, None
        try:
            item = await self._table.update(
                feed_key(stored.feed),
                "SET ck = :ck, v = :next, pr = :pr, skipped_at = :skipped_at",
                condition="v = :v",
                ck=encode_checkpoint_item(stored.feed, stored.checkpoint),
                pr=b"" if stored.last_poll is None else msgspec.json.encode(stored.last_poll),
                v=stored.version,
                next=stored.version + 1,
                skipped_at=stored.skipped_at,
            )
        except (LedgerError, asyncio.CancelledError):
            stored.changed_at = changed_at
            raise
        if item is not None:
            stored.version += 1
        elif await self._table.get(feed_key(stored.feed)) is None:  # the next heartbeat finds a new table
            stored.changed_at = changed_at
        else:  # another member reads this feed by now
            self._feeds.pop(stored.feed, None)
