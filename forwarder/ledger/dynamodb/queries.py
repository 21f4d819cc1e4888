"""The values that only display needs: the status of the members, the traffic and the retention gap."""

import secrets
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from forwarder.errors import LedgerUnavailable
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.member_items import saved_status
from forwarder.ledger.dynamodb.retention import RetentionStore
from forwarder.ledger.dynamodb.schema import TRAFFIC
from forwarder.ledger.dynamodb.table import Key
from forwarder.ledger.models import DaemonStatus, PollResult, Traffic
from forwarder.ledger.retention_gap import RetentionGap
from forwarder.ledger.traffic import LAG_WINDOW, RETENTION, TrafficCounts, minute_of
from forwarder.model import Feed

SAVE_INTERVAL = timedelta(minutes=1)
"""The time between two writes of the counts per minute, of which the last are lost if the process is killed."""

_gaps = msgspec.json.Decoder(RetentionGap)
_traffic = msgspec.msgpack.Decoder(tuple[dict[int, int], dict[int, int], list[tuple[int, int, int]]])


class QueryStore(RetentionStore):
    """The operations that only display needs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._traffic_key = Key(TRAFFIC, secrets.token_hex(6))
        """The key of this process's counts, which stays the same if it joins again."""
        self._traffic_saved_at: datetime | None = None
        self._saved_traffic = b""
        self._others = TrafficCounts()
        self._others_read_at: datetime | None = None

    async def traffic(self, *, now: datetime) -> Traffic:
        """Return the counts of all processes. A member returns those of others as they were in the last minute."""
        if self._member is None or self._others_read_at is None or now - self._others_read_at >= SAVE_INTERVAL:
            self._others, self._others_read_at = TrafficCounts(), now
            async for item in self._table.query(TRAFFIC, consistent=self._member is None):
                if item["s"] != self._traffic_key.s:
                    self._others.add(_decode(item["body"]))
        counts = self._traffic.until(minute_of(now) + 1)
        counts.add(self._others)
        return counts.traffic(now)

    async def save_daemon_status(self, status: DaemonStatus, poll_results: Mapping[Feed, PollResult]) -> None:
        # Compressed, because a heartbeat of more than 1 KB costs twice as much.
        self._status = zlib.compress(msgspec.json.encode(status))
        self.require_heartbeat()
        if self._member is None:  # no heartbeat shows whether the table can be used
            await self._load_ledger_item()
        elif (failure := self._table.failure) is not None:  # since the last heartbeat
            raise LedgerUnavailable(failure.message, hint=failure.hint)
        for feed, result in poll_results.items():
            self.keep_poll(feed, result)

    async def daemon_status(self) -> DaemonStatus | None:
        """Return the latest status that a member saved with its heartbeat."""
        await self._load_members(consistent=True)
        statuses = [status for item in self._members.values() if (status := saved_status(item.get("sv", b"")))]
        return max(statuses, key=lambda status: status.at, default=None)

    async def save_retention_gap(self, gap: RetentionGap) -> None:
        await self._save_in_ledger_item({"retention_gap": msgspec.json.encode(gap)})

    async def retention_gap(self) -> RetentionGap | None:
        item = await self._current_ledger_item()
        return _gaps.decode(item["retention_gap"]) if "retention_gap" in item else None

    async def _before_heartbeat(self, member: Member) -> None:
        await super()._before_heartbeat(member)
        now = self._now()
        if self._traffic_saved_at is None or now - self._traffic_saved_at >= SAVE_INTERVAL:
            await self._do_beside_heartbeats("counts per minute", self._save_traffic)
            self._traffic_saved_at = now

    async def _before_leaving(self, member: Member) -> None:
        await super()._before_leaving(member)
        await self._save_traffic()

    async def _save_traffic(self) -> None:
        """Save the counts if they have changed."""
        body = _encode(self._traffic, minute_of(self._now() - LAG_WINDOW))
        if body != self._saved_traffic:
            expires = int((self._now() + 2 * RETENTION).timestamp())
            await self._table.put(self._traffic_key, {"body": body, "expires": expires})
            self._saved_traffic = body


def _encode(counts: TrafficCounts, lags_after: int) -> bytes:
    """Return the counts of an item. Lags are displayed for an hour: those of a day may be larger than an item."""
    lags = [(minute, step, count) for (minute, step), count in counts.lags.items() if minute > lags_after]
    return msgspec.msgpack.encode((dict(counts.recorded), dict(counts.sent), lags)) if counts.minutes else b""


def _decode(body: bytes) -> TrafficCounts:
    counts = TrafficCounts()
    if body:
        recorded, sent, lags = _traffic.decode(body)
        counts.recorded.update(recorded)
        counts.sent.update(sent)
        counts.lags.update({(minute, step): count for minute, step, count in lags})
    return counts
