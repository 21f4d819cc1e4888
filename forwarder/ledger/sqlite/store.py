"""The ledger in a SQLite file: it implements `protocol.py` on one writer thread."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from forwarder.ledger.models import (
    UNDECODABLE,
    Counters,
    DaemonStatus,
    Dead,
    DeadLetter,
    FeedStatus,
    PollResult,
    ReplayCounts,
    Settlement,
    StoredEntry,
    TimeWindow,
    Traffic,
)
from forwarder.ledger.sqlite import (
    claims,
    counters,
    entries,
    metadata,
    payloads,
    queries,
    replay,
    requeue,
    retention,
    stats,
)
from forwarder.ledger.sqlite.entries import record as record_entries
from forwarder.ledger.sqlite.lock import RunningLock
from forwarder.ledger.sqlite.settlements import SettlementBatcher
from forwarder.ledger.sqlite.writer import Writer
from forwarder.model import Checkpoint, ClaimedEntry, Entry, Feed

# Below every key, since a key is a signed 64-bit number.
MIN_KEY_EXCLUSIVE = -(2**63)

MAX_INLINE_PACK_BYTES = 200_000
"""Bytes of details that take a millisecond or two to pack, for which the loop is held rather than a thread asked."""

FORGET_INTERVAL = timedelta(hours=6)


class SqliteLedger:
    """Entered with `async with`, which opens the file and raises LedgerError."""

    def __init__(self, file: Path, *, create: bool = False, lock: RunningLock | None = None) -> None:
        self._writer = Writer(file, create=create, lock=lock)
        self._batcher = SettlementBatcher(self._writer)
        self._claimed_tokens: set[int] = set()
        self._retention_key: int | None = MIN_KEY_EXCLUSIVE
        self._ids_swept_at: datetime | None = None

    async def __aenter__(self) -> Self:
        await self._writer.start()
        return self

    async def __aexit__(
        self, exception_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._writer.stop()

    async def checkpoint(self, feed: Feed) -> Checkpoint:
        return await self._writer.read(partial(entries.load_checkpoint, feed=feed))

    async def add_feeds(self, checkpoints: Mapping[Feed, Checkpoint], *, discovered_at: datetime | None = None) -> None:
        await self._writer.write(partial(entries.add_feeds, checkpoints=checkpoints, discovered_at=discovered_at))

    async def discovered_at(self) -> datetime | None:
        return await self._writer.read(metadata.discovered_at)

    async def known_ids(self, execution_ids: Collection[str]) -> set[str]:
        return (
            await self._writer.read(partial(entries.known_ids, execution_ids=execution_ids)) if execution_ids else set()
        )

    async def record(
        self, feed: Feed, entries: Sequence[Entry], *, now: datetime, checkpoint: Checkpoint | None = None
    ) -> int:
        # Not by the writer: each pack is a wait for its turn to compute, and all others wait for the writer.
        bodies = [entry.detail for entry in entries]
        is_small = sum(map(len, bodies)) <= MAX_INLINE_PACK_BYTES
        packs = payloads.pack(bodies) if is_small else await asyncio.to_thread(payloads.pack, bodies)
        work = partial(record_entries, feed=feed, entries=entries, packs=packs, now=now, new_checkpoint=checkpoint)
        return await self._writer.write(work)

    async def claim(self, limit: int, *, now: datetime) -> list[ClaimedEntry]:
        due = await self._writer.read(
            partial(claims.select_due, limit=limit, now=now, excluded=frozenset(self._claimed_tokens))
        )
        if not due.rows:
            return []
        claimed, unreadable = await asyncio.to_thread(claims.decode_due, due)
        if unreadable:
            # One row that cannot be read must not stand before all others for ever.
            reason = "its detail in the ledger cannot be read"
            await self.settle([Dead(token, UNDECODABLE, reason) for token in unreadable], now=now)
        self._claimed_tokens.update(each.token for each in claimed)
        return claimed

    def release(self, tokens: Collection[int]) -> None:
        self._claimed_tokens.difference_update(tokens)

    async def next_due(self) -> datetime | None:
        return await self._writer.read(partial(claims.next_due, excluded=frozenset(self._claimed_tokens)))

    async def settle(self, settlements: Sequence[Settlement], *, now: datetime, bus: str = "") -> int:
        number = await self._batcher.settle(settlements, bus=bus, now=now)
        self.release([settlement.token for settlement in settlements])
        return number

    async def last_settlement_seq(self) -> int:
        return await self._writer.read(metadata.last_settlement_seq)

    async def save_bus_verified(self, name: str, settlement_seq: int) -> None:
        await self._writer.write(partial(metadata.save_bus_verified, name=name, settlement_seq=settlement_seq))

    async def unverified_buses(self) -> list[str]:
        return await self._writer.read(requeue.unverified_buses)

    async def requeue(self, bus: str, *, now: datetime) -> int:
        return await self._writer.write(partial(requeue.requeue, bus=bus, now=now))

    async def counters(self) -> Counters:
        return await self._writer.read(counters.load_counters)

    async def oldest_pending(self) -> datetime | None:
        return await self._writer.read(claims.oldest_pending)

    async def audit(self) -> Counters:
        return await self._writer.read(counters.audit)

    async def find_feed(self, execution_id: str) -> Feed | None:
        return await self._writer.read(partial(entries.find_feed, execution_id=execution_id))

    async def dead_letters(self) -> list[DeadLetter]:
        return await self._writer.read(requeue.dead_letters)

    async def dead_letter(self, execution_id: str) -> DeadLetter | None:
        found = await self._writer.read(partial(requeue.dead_letters, execution_id=execution_id))
        return found[0] if found else None

    async def retry_dead_letters(self, execution_ids: Collection[str] | None, *, now: datetime) -> int:
        return await self._writer.write(partial(requeue.retry_dead_letters, execution_ids=execution_ids, now=now))

    async def purge_dead_letters(self, execution_ids: Collection[str] | None) -> int:
        return await self._writer.write(partial(requeue.purge_dead_letters, execution_ids=execution_ids))

    async def replay_counts(self, window: TimeWindow) -> ReplayCounts:
        return await self._writer.read(partial(replay.replay_counts, window=window))

    async def replay(self, window: TimeWindow, *, now: datetime) -> int:
        return await self._writer.write(partial(replay.replay, window=window, now=now))

    async def pending_replays(self) -> int:
        return await self._writer.read(replay.pending_replays)

    async def latest_entries(self, limit: int, *, dead: bool = False) -> list[StoredEntry]:
        return await self._writer.read(partial(queries.latest_entries, limit=limit, dead=dead))

    async def stored_entry(self, execution_id: str) -> StoredEntry | None:
        return await self._writer.read(partial(queries.stored_entry, execution_id=execution_id))

    async def traffic(self, *, now: datetime) -> Traffic:
        return await self._writer.read(partial(stats.traffic, now=now))

    async def apply_retention(self, *, now: datetime, id_retention: timedelta, payload_retention: timedelta) -> bool:
        has_more = await self._writer.write(
            partial(retention.delete_old_payloads, now=now, payload_retention=payload_retention)
        )
        await self._writer.write(partial(stats.delete_old, now=now))
        if self._retention_key is None and (self._ids_swept_at is None or now - self._ids_swept_at >= FORGET_INTERVAL):
            self._retention_key = MIN_KEY_EXCLUSIVE
        if self._retention_key is not None:
            work = partial(retention.forget_ids, now=now, id_retention=id_retention, after_key=self._retention_key)
            self._retention_key, self._ids_swept_at = await self._writer.write(work), now
        return has_more or self._retention_key is not None

    async def save_switch(self, *, enabled: bool, skip: bool, now: datetime) -> bool | None:
        return await self._writer.write(partial(entries.save_switch, enabled=enabled, skip=skip, now=now))

    async def saved_switch(self) -> bool | None:
        return await self._writer.read(metadata.enabled)

    async def feeds(self) -> list[FeedStatus]:
        return await self._writer.read(entries.feeds)

    async def save_daemon_status(self, daemon_status: DaemonStatus, polls: Mapping[Feed, PollResult]) -> None:
        await self._writer.write(partial(entries.save_daemon_status, daemon_status=daemon_status, polls=polls))

    async def daemon_status(self) -> DaemonStatus | None:
        return await self._writer.read(metadata.daemon_status)

    async def request_status(self, *, now: datetime) -> None:
        await self._writer.write(partial(metadata.save_status_request, at=now))

    async def status_requested_at(self) -> datetime | None:
        return await self._writer.read(metadata.status_requested_at)
