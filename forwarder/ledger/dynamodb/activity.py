"""The activity after a position: the entries that were recorded, and the events that were sent."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from forwarder.ledger.dynamodb.executions import PENDING_STATE, SENT_STATE, transition_at
from forwarder.ledger.dynamodb.pages import MEMBER_PATTERN, PageStore, Row
from forwarder.ledger.dynamodb.schema import Place
from forwarder.ledger.dynamodb.window import RECORDED, REPLAYED, REQUEUED, RETRIED
from forwarder.ledger.models import Activity

_ACTIVITY_POSITION: Final = re.compile(f"({MEMBER_PATTERN}:[0-9]{{1,12}}:[0-9]{{1,9}},)*-")

_STARTED: Final = (RECORDED, RETRIED, REPLAYED, REQUEUED)
"""The transitions after which an event is to be sent."""


class ActivityStore(PageStore):
    """The operations that follow the ledger.

    No journal has the time of sending. So `activity` remembers the entries that are not settled, and reads their state.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unsettled: dict[str, Place] = {}
        """The places of the entries that `activity` remembers, by the digests of their executions."""

    async def activity(self, after: str | None, limit: int) -> Activity:
        reached = {} if after is None else _parse_activity(after)
        recorded: list[Row] = []
        await self._load_members(consistent=True)
        for member in sorted(self._members):
            async for row in self._entries_after(member, reached.get(member, (0, 0))):
                if len(recorded) == limit:
                    break
                place, entry, item = row
                reached[member] = place.number, place.index + 1
                if transition_at(item, place) == RECORDED:
                    recorded.append(row)
                self._unsettled[entry.digest] = place
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

    async def _entries_after(self, member: str, reached: tuple[int, int]) -> AsyncIterator[Row]:
        """Yield the entries of a journal after a position whose transition was made, oldest first."""
        first, index = reached
        async for number, entries in self._journals.entries_from(member, first):
            items = await self._executions.load([entry.digest for entry in entries])
            for each, entry in enumerate(entries):
                item, place = items.get(entry.digest), Place(member, number, each)
                is_new = number > first or each >= index
                if is_new and item is not None and transition_at(item, place) in _STARTED:
                    yield place, entry, item

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
