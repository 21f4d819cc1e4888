"""The activity after a position: the entries that were recorded, and the events that were sent."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from forwarder.ledger.dynamodb.executions import PENDING_STATE, SENT_STATE, ExecutionItem, transition_at
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.pages import MEMBER_PATTERN, PageStore
from forwarder.ledger.dynamodb.rows import Row
from forwarder.ledger.dynamodb.schema import Place
from forwarder.ledger.dynamodb.window import RECORDED, REPLAYED, REQUEUED, RETRIED
from forwarder.ledger.models import Activity

_ACTIVITY_POSITION: Final = re.compile(f"({MEMBER_PATTERN}:[0-9]{{1,12}}:[0-9]{{1,9}},)*-")

_STARTED: Final = (RECORDED, RETRIED, REPLAYED, REQUEUED)
"""The transitions after which an event is to be sent."""


class ActivityStore(PageStore):
    """The operations that follow the ledger.

    No journal has the time of sending. So `activity` remembers the entries that are not settled, and reads their state.
    It also remembers the journaled entries whose transitions were not made yet when it read the entries after them.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unsettled: dict[str, Place] = {}
        """The places of the entries that `activity` remembers, by the digests of their executions."""
        self._unresolved: dict[Place, JournalEntry] = {}
        """The journaled entries, without details, whose transitions may still be made."""

    async def activity(self, after: str | None, limit: int) -> Activity:
        remembered = dict(self._unsettled), dict(self._unresolved)
        try:
            return await self._activity(after, limit)
        except BaseException:  # what was not returned is read again
            self._unsettled, self._unresolved = remembered
            raise

    async def _activity(self, after: str | None, limit: int) -> Activity:
        reached = {} if after is None else _parse_activity(after)
        await self._load_members(consistent=True)
        recorded = await self._late_rows(reached, limit)
        for member in sorted(self._members):
            async for row in self._entries_after(member, reached.get(member, (0, 0))):
                if len(recorded) == limit:
                    break
                place = row[0]
                reached[member] = place.number, place.index + 1
                recorded += self._followed(row)
        sent = await self._newly_sent(limit)
        return Activity(
            await self._stored_entries(recorded), await self._stored_entries(sent), _activity_position(reached)
        )

    async def last_activity(self) -> str:
        last = await self._last_numbers()
        reached = {
            member: (number, len(await self._journals.entries_of_item(member, number)))
            for member, number in last.items()
            if number
        }
        await self._watch_pending()
        return _activity_position(reached)

    async def _late_rows(self, reached: Mapping[str, tuple[int, int]], limit: int) -> list[Row]:
        """Return at most `limit` entries before a position that are recorded now, and were not when they were read."""
        passed = {
            place: entry
            for place, entry in self._unresolved.items()
            if (place.number, place.index) < reached.get(place.member, (0, 0))
        }
        self._unresolved = dict(passed)  # the others are read again
        items = await self._executions.load([entry.digest for entry in passed.values()])
        rows: list[Row] = []
        for place, entry in passed.items():
            item = items.get(entry.digest)
            if item is not None and transition_at(item, place) in _STARTED:
                if len(rows) < limit:
                    del self._unresolved[place]
                    rows += self._followed((place, entry, item))
            elif not self._may_be_made(place, entry, item):
                del self._unresolved[place]
        return rows

    def _followed(self, row: Row) -> list[Row]:
        """Remember an entry until it is settled. Return it if it is a recorded one."""
        place, entry, item = row
        self._unsettled[entry.digest] = place
        return [row] if transition_at(item, place) == RECORDED else []

    def _may_be_made(self, place: Place, entry: JournalEntry, item: ExecutionItem | None) -> bool:
        """Return whether a transition that is not made may still be made by the member that journaled it."""
        member = self._members.get(place.member)
        is_open = member is not None and "gone" not in member and place.number >= member["mk"]
        return is_open and entry.kind in _STARTED and (item is None or entry.kind != RECORDED)

    async def _entries_after(self, member: str, reached: tuple[int, int]) -> AsyncIterator[Row]:
        """Yield the entries of a journal after a position whose transition was made, oldest first."""
        first, index = reached
        async for number, entries in self._journals.entries_from(member, first):
            items = await self._executions.load([entry.digest for entry in entries])
            for each, entry in enumerate(entries):
                item, place = items.get(entry.digest), Place(member, number, each)
                if number == first and each < index:
                    continue
                if item is not None and transition_at(item, place) in _STARTED:
                    yield place, entry, item
                elif self._may_be_made(place, entry, item):
                    self._unresolved[place] = msgspec.structs.replace(entry, detail=b"")

    async def _watch_pending(self) -> None:
        """Remember all pending entries, so that later calls return them once they are sent."""
        for member, item in self._members.items():
            if "gone" not in item:
                async for place, entry, execution in self._entries_after(member, (item["mk"], 0)):
                    if execution["st"] == PENDING_STATE:
                        self._unsettled[entry.digest] = place

    async def _newly_sent(self, limit: int) -> list[Row]:
        """Return the events that were sent, at most `limit`, of those that `activity` remembers, in their order."""
        items = await self._executions.load(list(self._unsettled))
        rows: list[Row] = []
        for key in list(self._unsettled):
            item = items.get(key)
            if len(rows) < limit and item is not None and item["st"] != PENDING_STATE:
                place = self._unsettled.pop(key)
                journaled = await self._journals.entries_of([place])
                if item["st"] == SENT_STATE and place in journaled:
                    rows.append((place, journaled[place], item))
        return rows


def _parse_activity(text: str) -> dict[str, tuple[int, int]]:
    if _ACTIVITY_POSITION.fullmatch(text) is None:
        raise ValueError("is not a position in this ledger")
    parts = (each.split(":") for each in text[:-1].split(",") if each)
    return {member: (int(number), int(index)) for member, number, index in parts}


def _activity_position(reached: Mapping[str, tuple[int, int]]) -> str:
    """Return the text of a position: for each member, the item and the entry from which to continue."""
    return "".join(f"{member}:{number}:{index}," for member, (number, index) in sorted(reached.items())) + "-"
