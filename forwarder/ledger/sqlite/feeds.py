"""The feeds and their checkpoints, the discovery of feeds, and the switch."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from sqlite3 import Connection

from forwarder.errors import LedgerError
from forwarder.ledger.codec import decode_checkpoint, encode_checkpoint, from_micros, to_micros
from forwarder.ledger.fleet import ALL_SHARDS, shard_of
from forwarder.ledger.models import FeedStatus, PollResult
from forwarder.ledger.sqlite import metadata
from forwarder.ledger.sqlite.store import SqliteStore
from forwarder.model import Checkpoint, Feed

_CHECKPOINT = "watermark, floor, local_floor, full_scan_at, open_executions, activity"
_LAST_POLL = "polled_at, poll_error, poll_interval, poll_reason"


class FeedStore(SqliteStore):
    """The operations on feeds."""

    async def add_feeds(
        self,
        new: Mapping[Feed, Checkpoint],
        *,
        discovered_at: datetime | None = None,
        shards: Collection[int] = ALL_SHARDS,  # noqa: ARG002  # the only process discovers all of them at once
    ) -> None:
        def add(db: Connection) -> None:
            forgotten = metadata.forgotten_floor(db)
            rows = []
            for feed, first in new.items():
                floor = first.floor if forgotten is None else max(first.floor or forgotten, forgotten)
                rows.append((feed.workflow_id, feed.user_id or "", *encode_checkpoint(replace(first, floor=floor))))
            db.executemany(
                f"INSERT INTO feeds (workflow_id, user_id, {_CHECKPOINT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # a constant
                " ON CONFLICT DO NOTHING",
                rows,
            )
            if discovered_at is not None:
                metadata.save_discovered_at(db, discovered_at)

        await self._writer.write(add)

    async def discovered_at(self, shard: int) -> datetime | None:  # noqa: ARG002  # see add_feeds
        return await self._writer.read(metadata.discovered_at)

    async def checkpoint(self, feed: Feed) -> Checkpoint:
        def load(db: Connection) -> Checkpoint:
            row = db.execute(
                f"SELECT {_CHECKPOINT} FROM feeds WHERE workflow_id = ? AND user_id = ?",  # noqa: S608  # a constant
                (feed.workflow_id, feed.user_id or ""),
            ).fetchone()
            if row is None:
                raise _unknown_feed_error(feed)
            return decode_checkpoint(row)

        return await self._writer.read(load)

    async def save_watched(self, feeds: Collection[Feed], shards: Collection[int] = ALL_SHARDS) -> None:
        watched = {(feed.workflow_id, feed.user_id or "") for feed in feeds}

        def save(db: Connection) -> None:
            rows = db.execute("SELECT feed, workflow_id, user_id, watched FROM feeds").fetchall()
            changes = [
                (is_watched, number)
                for number, workflow_id, user_id, was_watched in rows
                if (
                    is_watched := (workflow_id, user_id) in watched or (was_watched and shard_of(user_id) not in shards)
                )
                != bool(was_watched)
            ]
            db.executemany("UPDATE feeds SET watched = ? WHERE feed = ?", changes)

        await self._writer.write(save)

    async def feeds(self) -> list[FeedStatus]:
        def load(db: Connection) -> list[FeedStatus]:
            rows = db.execute(
                f"SELECT workflow_id, user_id, {_LAST_POLL}, watched, {_CHECKPOINT}"  # noqa: S608  # a constant
                " FROM feeds ORDER BY 1, 2"
            )
            return [
                FeedStatus(
                    Feed(workflow_id, user_id or None),
                    decode_checkpoint(tuple(checkpoint)),
                    None
                    if polled_at is None
                    else PollResult(from_micros(polled_at), error or "", interval, reason or ""),
                    bool(watched),
                )
                for workflow_id, user_id, polled_at, error, interval, reason, watched, *checkpoint in rows
            ]

        return await self._writer.read(load)

    async def save_switch(self, *, enabled: bool, skip: bool, now: datetime) -> bool | None:
        def save(db: Connection) -> bool | None:
            before = metadata.enabled(db)
            if before is not enabled:
                metadata.save_enabled(db, enabled)
            if enabled and before is False and skip:
                # The next poll converts the local floor to a floor on the clock of the API.
                db.execute("UPDATE feeds SET local_floor = ?", (to_micros(now),))
            return before

        return await self._writer.write(save)

    async def save_fleet_switch(self, *, enabled: bool, skip: bool, now: datetime) -> bool | None:  # noqa: ARG002  # the protocol names them
        raise LedgerError("this ledger is not shared", hint="switch this process: `forwarder enable` or `disable`")

    async def saved_switch(self) -> bool | None:
        return await self._writer.read(metadata.enabled)


def feed_number(db: Connection, feed: Feed) -> int:
    """Return the number of a feed. Raise LedgerError if the feed was never added."""
    row = db.execute(
        "SELECT feed FROM feeds WHERE workflow_id = ? AND user_id = ?", (feed.workflow_id, feed.user_id or "")
    ).fetchone()
    if row is None:
        raise _unknown_feed_error(feed)
    return int(row[0])


def save_checkpoint(db: Connection, number: int, checkpoint: Checkpoint) -> None:
    """Save the checkpoint of a feed. Its floor only rises: retention may have raised it during the scan."""
    watermark, floor, local_floor, full_scan_at, open_executions, activity = encode_checkpoint(checkpoint)
    db.execute(
        """UPDATE feeds SET watermark = ?, floor = max(coalesce(floor, ?), coalesce(?, floor)), local_floor = ?,
                            full_scan_at = ?, open_executions = ?, activity = ? WHERE feed = ?""",
        (watermark, floor, floor, local_floor, full_scan_at, open_executions, activity, number),
    )


def _unknown_feed_error(feed: Feed) -> LedgerError:
    return LedgerError(f"the ledger has no feed {feed}")
