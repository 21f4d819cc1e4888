"""Deliberate replay of sent events, and the requeue of events that a missing bus accepted."""

from collections.abc import Collection
from datetime import datetime

import msgspec

from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.activity import ActivityStore
from forwarder.ledger.dynamodb.executions import SENT_STATE, ExecutionItem
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.schema import FORMAT, KEEP_FORMAT, LEDGER
from forwarder.ledger.dynamodb.window import REPLAYED, REQUEUED
from forwarder.ledger.models import ReplayCounts, TimeWindow


class ReplayStore(ActivityStore):
    """The operations of a replay, and those on verified and missing buses."""

    async def replay_counts(self, window: TimeWindow) -> ReplayCounts:
        """Return the counts. The store does not know how many events without a payload there are."""
        return ReplayCounts(len(await self._sent_in(window)), {})

    async def replay(self, window: TimeWindow, *, now: datetime) -> int:
        return len(await self._visit([_again(REPLAYED, *each) for each in await self._sent_in(window)], now))

    async def replay_executions(self, execution_ids: Collection[str], *, now: datetime) -> int:
        found = await self._stored_executions(dict.fromkeys(execution_ids))
        sent = [(entry, item) for entry, item in found if item["st"] == SENT_STATE]
        return len(await self._visit([_again(REPLAYED, *each) for each in sent], now))

    async def pending_replays(self) -> int:
        if self._member is None:
            await self._load_members(consistent=True)
        own = [] if self._member is None else list(self._member.pending.values())
        others = [item["rp"] for name, item in self._members.items() if name != self._own_id and "gone" not in item]
        return sum(each.send_number > 1 for each in own) + int(sum(others))

    async def save_bus_verified(self, name: str, seq: int) -> None:
        member = await self._joined()
        if name not in self._verified_buses:
            await self._add_verified_bus(name)
        member.verified(name, seq)

    async def _add_verified_bus(self, name: str) -> None:
        """Add a bus to the list of the ledger, to which other members add theirs."""
        item = await self._table.update(
            LEDGER,
            "SET verified_buses = list_append(if_not_exists(verified_buses, :none), :added), " + KEEP_FORMAT,
            condition="attribute_not_exists(verified_buses) OR NOT contains(verified_buses, :name)",
            none=[],
            added=[name],
            name=name,
            ledger_format=FORMAT,
        )
        if item is None:  # another member has added it
            await self._load_ledger_item()
        else:
            self._ledger_item = item

    async def unverified_buses(self) -> list[str]:
        member = await self._joined()
        return sorted({each.bus for each in member.unverified})

    async def requeue(self, bus: str, *, now: datetime) -> int:
        member = await self._joined()
        unverified = member.take_unverified(bus)
        executions = await self._executions.load([each.journaled.digest for each in unverified])
        again = [
            (each.journaled, item)
            for each in unverified
            if (item := executions.get(each.journaled.digest)) is not None and item["o"] == each.owner
        ]
        made = await self._make_transitions(member, [_again(REQUEUED, *each) for each in again], now)
        member.forget_unverified(unverified)
        return len(made)

    async def _sent_in(self, window: TimeWindow) -> list[tuple[JournalEntry, ExecutionItem]]:
        """Return the sent executions of a window whose payload is stored."""
        start, end = to_micros(window.start), to_micros(window.end)

        def is_in_window(entry: JournalEntry) -> bool:
            return start <= entry.time < end and window.workflow_id in (None, entry.workflow_id)

        return [
            (entry, item)
            async for _, entry, item in self._recorded_entries(is_in_window)
            if item["st"] == SENT_STATE and self._has_payload(item)
        ]


def _again(kind: str, entry: JournalEntry, item: ExecutionItem) -> JournalEntry:
    """Return the entry that makes a sent execution pending again. A replay has the next send number."""
    number = item.get("sn", 1)
    return msgspec.structs.replace(
        entry,
        kind=kind,
        send_number=number + 1 if kind == REPLAYED else number,
        owners=(),
        base=item["o"],
        payload=item["pl"],
        detail=b"",
    )
