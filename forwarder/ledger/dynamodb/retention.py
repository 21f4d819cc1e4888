"""The retention. DynamoDB deletes expired items.

This module raises the floor of the ids, and stores the payloads of pending entries again before they expire.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec

from forwarder.ledger import traffic
from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.counters import CounterStore
from forwarder.ledger.dynamodb.id_floor import raise_floor, unchanged_since
from forwarder.ledger.dynamodb.journal import MembershipLost
from forwarder.ledger.dynamodb.journal_items import EXTRA_LIFE, JournalEntry
from forwarder.ledger.dynamodb.member import Member, OwnedEntry
from forwarder.ledger.dynamodb.member_items import MemberItem
from forwarder.ledger.dynamodb.schema import member_key
from forwarder.ledger.dynamodb.window import RECORDED
from forwarder.ledger.traffic import minute_of

BETWEEN_FLOORS = timedelta(hours=1)
"""The time between two writes of the floor, and between two checks of the members that have left."""

MAX_UNATTENDED = timedelta(days=1)
"""The time after which a process that has left renews the pending entries that others left behind."""

MAX_RENEWED_ENTRIES = 200


class RetentionStore(CounterStore):
    """The operation that deletes old payloads and ids."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._floor_raised_at: datetime | None = None
        self._last_beats: dict[str, int] = {}
        """The heartbeat numbers of all members at the last check of those that nobody attends to."""

    async def apply_retention(self, *, now: datetime, id_retention: timedelta, payload_retention: timedelta) -> bool:
        self._retention.ids, self._retention.payloads = id_retention, payload_retention
        self._payload_horizon = to_micros(now - payload_retention)
        self._traffic.subtract(self._traffic.until(minute_of(now - traffic.RETENTION)))
        if self._floor_raised_at is None or now - self._floor_raised_at >= BETWEEN_FLOORS:
            await self._raise_floor(now)
            if self._member is None:
                await self._renew_unattended(now)
        return self._member is not None and await self._renew_some(self._member, now)

    async def _raise_floor(self, now: datetime) -> None:
        """Raise the floor of all feeds, unless another process does it at the same time.

        DynamoDB deletes ids by its own clock. If the machine's clock is years ahead for a minute, it proves no age.
        """
        item = await self._load_ledger_item()
        attributes = raise_floor(item, self._retention.ids, now - self._table.clock.lead)
        condition, values = unchanged_since(item)
        if await self._save_in_ledger_item(attributes, condition=condition, **values):
            self._floor_raised_at = now

    async def _renew_unattended(self, now: datetime) -> None:
        """Renew the pending entries that nobody owns, as a visitor that takes their members over.

        While all processes are switched off, they have left, and the journals would expire. The visitor is a member of
        its own: this process may join meanwhile.
        """
        await self._load_members(consistent=True)
        unattended = self._unattended(to_micros(now - MAX_UNATTENDED))
        if not unattended:
            return
        visitor = Member(self._table, self._journals)
        item = self._heartbeat(visitor) | {"be": 0, "host": self._host, "cm": 1}
        await self._table.put(member_key(visitor.id), item, condition="attribute_not_exists(p)")
        async with self._heartbeats_of(visitor):
            for each in unattended:
                await self._take_over_and_log(visitor, each)
            old = _old_entries(visitor, now)
            for start in range(0, len(old), MAX_RENEWED_ENTRIES):
                await self._renew(visitor, old[start : start + MAX_RENEWED_ENTRIES], now)
        with suppress(MembershipLost):  # this process was paused: its heir has the entries
            await self._write_heartbeat(visitor, left=True)

    def _unattended(self, before: int) -> list[MemberItem]:
        """Return the members whose heartbeat is old, and stood still since the last check, if they may have entries.

        The last check was an hour ago. A process that has just started takes these members over when it joins. Only a
        member that has left has saved whether it has pending entries. Another one may have recorded some since its last
        heartbeat.
        """
        last_beats, self._last_beats = self._last_beats, {name: item["be"] for name, item in self._members.items()}
        return [
            item
            for name, item in self._members.items()
            if "gone" not in item
            and (item.get("op") or "lf" not in item)
            and item["hb"] < before
            and last_beats.get(name) == item["be"]
        ]

    async def _renew_some(self, member: Member, now: datetime) -> bool:
        """Renew pending entries of this process. Return whether there may be more."""
        old = _old_entries(member, now)[:MAX_RENEWED_ENTRIES]
        return await self._renew(member, old, now) and len(old) == MAX_RENEWED_ENTRIES

    async def _renew(self, member: Member, old: Sequence[OwnedEntry], now: datetime) -> bool:
        """Journal entries again, with their payloads. Return whether the payload of any was found."""
        details = await self._journals.details_of([(each.place, each.journaled) for each in old])
        found = {each.journaled.digest: each for each in old if each.place in details}
        member.claimed.update(each.token for each in found.values())
        try:
            renewed = [_renewed(each, details[each.place], now) for each in found.values()]
            await self._make_transitions(member, renewed, now)
        finally:
            member.release([each.token for each in found.values()])
        return bool(found)


def _old_entries(member: Member, now: datetime) -> list[OwnedEntry]:
    """Return the pending entries whose payload would expire before long, and that are not being sent."""
    # Half of the least life: with a shorter retention, of earlier settings or of another process, it is not longer.
    before = to_micros(now - EXTRA_LIFE / 2)
    return [
        each
        for token, each in member.pending.items()
        if token not in member.claimed and each.journaled.stored_at < before
    ]


def _renewed(owned: OwnedEntry, detail: bytes, now: datetime) -> JournalEntry:
    """Return the entry that stores a payload again. Its only earlier owner is this member."""
    return msgspec.structs.replace(
        owned.journaled,
        kind=RECORDED,
        owners=(owned.token,),
        base="",
        payload="",
        detail=detail,
        send_number=owned.send_number,
        stored_at=to_micros(now),
    )
