"""The retention. DynamoDB deletes expired items.

This module raises the floor of the ids, and stores the payloads of pending entries again before they expire.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import msgspec

from forwarder.ledger import traffic
from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.counters import CounterStore
from forwarder.ledger.dynamodb.id_floor import raise_floor, unchanged_since
from forwarder.ledger.dynamodb.journal_items import EXTRA_LIFE, JournalEntry
from forwarder.ledger.dynamodb.member import OwnedEntry
from forwarder.ledger.dynamodb.window import RECORDED
from forwarder.ledger.traffic import minute_of

BETWEEN_FLOORS = timedelta(hours=1)
"""The time between two writes of the floor, and between two checks of the members that have left."""

MAX_UNATTENDED = timedelta(days=1)
"""The time after which a process that has left takes care of the pending entries that others left behind."""

MAX_RENEWED_ENTRIES = 200


class RetentionStore(CounterStore):
    """The operation that deletes old payloads and ids."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._floor_raised_at: datetime | None = None

    async def apply_retention(self, *, now: datetime, id_retention: timedelta, payload_retention: timedelta) -> bool:
        self._retention.ids, self._retention.payloads = id_retention, payload_retention
        self._payload_horizon = to_micros(now - payload_retention)
        self._traffic.subtract(self._traffic.until(minute_of(now - traffic.RETENTION)))
        if self._floor_raised_at is None or now - self._floor_raised_at >= BETWEEN_FLOORS:
            await self._raise_floor(now)
            if self._member is None:
                await self._visit_to_renew(now)
        return await self._renew_old_entries(now)

    async def _raise_floor(self, now: datetime) -> None:
        """Raise the floor of all feeds, unless another process does it at the same time.

        DynamoDB deletes ids by its own clock. If the machine's clock is years ahead for a minute, it proves no age.
        """
        item = await self._load_ledger_item()
        attributes = raise_floor(item, self._retention.ids, now - self._table.clock.lead)
        condition, values = unchanged_since(item)
        if await self._save_in_ledger_item(attributes, condition=condition, **values):
            self._floor_raised_at = now

    async def _visit_to_renew(self, now: datetime) -> None:
        """Be a member for as long as it takes to renew the entries of members that left a day ago.

        While all processes are switched off, nobody owns these entries, and their journals would expire.
        """
        await self._load_members(consistent=True)
        before = to_micros(now - MAX_UNATTENDED)
        left = (each for each in self._members.values() if "lf" in each and "gone" not in each and each.get("op"))
        if not any(each["hb"] < before for each in left):
            return
        try:
            await self._joined()
            while self._take_overs:
                await asyncio.wait(self._take_overs.values())
            while await self._renew_old_entries(now):
                pass
        finally:
            await self._leave()

    async def _renew_old_entries(self, now: datetime) -> bool:
        """Journal pending entries again whose payload would expire before long. Return whether there may be more."""
        member = self._member
        if member is None:
            return False
        # Half of the least life: with a shorter retention, of earlier settings or of another process, it is not longer.
        before = to_micros(now - EXTRA_LIFE / 2)
        old = [
            each
            for token, each in member.pending.items()
            if token not in member.claimed and each.journaled.stored_at < before
        ][:MAX_RENEWED_ENTRIES]
        details = await self._journals.details_of([(each.place, each.journaled) for each in old])
        found = {each.journaled.digest: each for each in old if each.place in details}
        member.claimed.update(each.token for each in found.values())
        try:
            renewed = [_renewed(each, details[each.place], now) for each in found.values()]
            await self._make_transitions(member, renewed, now)
        finally:
            member.release([each.token for each in found.values()])
        return len(old) == MAX_RENEWED_ENTRIES


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
