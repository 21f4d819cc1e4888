"""The lists of entries. No index is kept for them: they are read from the journals, the newest items first."""

import re
from collections.abc import Callable, Iterable, Mapping
from heapq import nlargest
from typing import Any, Final

from forwarder.ledger.codec import from_micros, to_micros
from forwarder.ledger.dynamodb.executions import PENDING_STATE, ExecutionItem
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.rows import STATES, Row, RowStore, journaled_entry
from forwarder.ledger.dynamodb.schema import Place
from forwarder.ledger.dynamodb.window import RECORDED
from forwarder.ledger.models import EntryFilter, EntryPage, StoredEntry
from forwarder.model import Entry, Feed

MEMBER_PATTERN: Final = "[0-9a-f]{12}"
_POSITION: Final = re.compile(f"(-?[0-9]{{1,18}})_({MEMBER_PATTERN})_([0-9]{{1,12}})_([0-9]{{1,9}})")

MAX_LISTED_ITEMS = 500
"""The items of each journal that a page of a list reads. An item has the failures of one poll, or of several."""

MAX_PROBED_ITEMS = 8
"""The items that are read for the time of one of them: those of replays and take-overs have none of their own."""

MAX_SILENCE_MICROSECONDS = 600_000_000
"""The time after a heartbeat in which its member may still have recorded, by its own clock."""

Position = tuple[int, str, int, int]
"""The time at which an entry was recorded, in microseconds, and the place that recorded it."""


class PageStore(RowStore):
    """The operations that list entries."""

    async def entries(self, matching: EntryFilter, limit: int, *, before: str | None = None) -> EntryPage:
        position = None if before is None else _parse_position(before)

        def is_wanted(row: Row) -> bool:
            return _matches(row, matching) and (position is None or _position(row) < position)

        rows, end = await self._rows(matching, limit, position, is_wanted)
        if end is not None and not _is_between(end, position, matching):
            end = None
        found = [(_position(row), row) for row in rows if is_wanted(row)]
        found = sorted(each for each in found if end is None or each[0] >= end)[::-1]
        page = found[:limit]
        following = page[-1][0] if len(found) > limit else end
        entries = await self._stored_entries([row for _, row in page])
        return EntryPage(entries, None if following is None else "{}_{}_{}_{}".format(*following))

    async def stored_entry(self, execution_id: str) -> StoredEntry | None:
        found = await self._stored_executions([execution_id])
        rows = [(Place.of(item["pl"]), entry, item) for entry, item in found]
        entries = await self._stored_entries(rows)
        return entries[0] if entries else None

    async def _rows(
        self, matching: EntryFilter, limit: int, position: Position | None, is_wanted: Callable[[Row], bool]
    ) -> tuple[list[Row], Position | None]:
        """Return the rows that may match. A filter for one execution, or for dead letters, reads only those.

        Otherwise each journal is read until it has enough rows for the page, at most MAX_LISTED_ITEMS of its items. If
        that ends the reading of a journal, the rows are complete down to the position that is returned.
        Journals that ended before the oldest row of the page are not read: the status page lists entries every second.
        """
        if matching.execution_id is not None:
            found = await self._stored_executions([matching.execution_id])
            return [(_recording(item), entry, item) for entry, item in found], None
        if matching.state == "dead":
            every = await self._dead(None)
            executions = await self._executions.load([stored.digest for *_, stored in every])
            return [
                (_recording(item), journaled_entry(stored), item)
                for _, _, stored in every
                if (item := executions.get(stored.digest)) is not None
            ], None
        rows: list[Row] = []
        listed: list[int] = []
        ends: list[Position] = []
        for member, last in (await self._last_numbers()).items():
            if len(listed) > limit and self._ended_before(member, nlargest(limit + 1, listed)[-1]):
                continue
            latest = _latest(position, matching)
            start = await self._last_item_until(member, last, latest)
            if position is not None and position[1] == member and start - MAX_LISTED_ITEMS + 1 >= position[2]:
                start = position[2]  # the items before it have no times, or those of a clock that was set
            found_rows, end = await self._newest_rows(member, start, limit, latest, is_wanted)
            rows += found_rows
            listed += [row[1].recorded_at for row in found_rows if is_wanted(row)]
            ends += [] if end is None else [end]
        return rows, max(ends, default=None)

    async def _newest_rows(
        self, member: str, start: int, limit: int, latest: int | None, is_wanted: Callable[[Row], bool]
    ) -> tuple[list[Row], Position | None]:
        """Return the stored rows of a journal from an item backwards, until more than `limit` are wanted.

        If MAX_LISTED_ITEMS are read before, return the position down to which they were read. Its time is the earliest
        of these items and of `latest`, which is None for now.
        """
        rows: list[Row] = []
        wanted, read_at = 0, latest
        first = max(1, start - MAX_LISTED_ITEMS + 1)
        for number in range(start, first - 1, -1):
            entries = await self._journals.entries_of_item(member, number)
            placed = [(Place(member, number, index), each) for index, each in enumerate(entries)]
            found = [row for row in await self._join(placed[::-1]) if self._has_payload(row[2])]
            rows += found
            wanted += sum(map(is_wanted, found))
            if wanted > limit:
                return rows, None
            if (recorded_at := _recorded_at(entries)) is not None:
                read_at = recorded_at if read_at is None else min(read_at, recorded_at)
        if first == 1 or not entries:
            return rows, None
        return rows, (to_micros(self._now()) if read_at is None else read_at, member, first, 0)

    async def _last_item_until(self, member: str, last: int, at: int | None) -> int:
        """Return the number of the last item of a journal that was written until a time, or a later one.

        All items of a short journal are read anyway. The times in a journal rise, unless its member's clock was set.
        """
        if at is None or last <= MAX_LISTED_ITEMS:
            return last
        low, high = 1, last
        while low < high:
            middle = (low + high + 1) // 2
            if await self._was_written_until(member, middle, at):
                low = middle
            else:
                high = middle - 1
        return low

    async def _was_written_until(self, member: str, number: int, at: int) -> bool:
        """Return whether an item was written until a time. Expired items were."""
        for each in range(number, max(0, number - MAX_PROBED_ITEMS), -1):
            recorded_at = _recorded_at(await self._journals.entries_of_item(member, each))
            if recorded_at is not None:
                return recorded_at <= at
        return True

    def _ended_before(self, member: str, recorded_at: int) -> bool:
        """Return whether a member wrote its last heartbeat so long before a time that it recorded nothing since."""
        item = None if member == self._own_id else self._members.get(member)
        return item is not None and item["hb"] + MAX_SILENCE_MICROSECONDS < recorded_at

    async def _stored_entries(self, rows: Iterable[Row]) -> list[StoredEntry]:
        pairs = [(Place.of(item["pl"]), entry) for _, entry, item in rows]
        details = await self._journals.details_of([(place, entry) for place, entry in pairs if not entry.detail])
        missing = [place for place, entry in pairs if not entry.detail and place not in details]
        found = await self._journals.entries_of(missing) if missing else {}
        return [
            _stored_entry(entry, item, entry.detail or details.get(place) or _detail(found.get(place), entry.digest))
            for (place, entry), (_, _, item) in zip(pairs, rows, strict=True)
        ]


def _detail(entry: JournalEntry | None, digest: str) -> bytes:
    return b"null" if entry is None or not entry.detail or entry.digest != digest else entry.detail


def _recorded_at(entries: Iterable[JournalEntry]) -> int | None:
    """Return when a member recorded the entries of an item, in microseconds, or None if it recorded none itself."""
    return next((each.recorded_at for each in entries if each.kind == RECORDED and not each.owners), None)


def _latest(position: Position | None, matching: EntryFilter) -> int | None:
    """Return the latest time at which an entry of a page may be recorded, in microseconds, or None for now."""
    ends = [] if position is None else [position[0]]
    if matching.recorded_to is not None:
        ends.append(to_micros(matching.recorded_to))
    return min(ends, default=None)


def _is_between(end: Position, position: Position | None, matching: EntryFilter) -> bool:
    """Return whether there may be matches before the end of a page, which is not the end of the page before it."""
    is_progress = position is None or end < position
    return is_progress and (matching.recorded_from is None or end[0] >= to_micros(matching.recorded_from))


def _recording(item: ExecutionItem) -> Place:
    return Place.of(item["lg"][0].split(" ")[0])


def _position(row: Row) -> Position:
    place, entry, _ = row
    return entry.recorded_at, place.member, place.number, place.index


def _parse_position(text: str) -> Position:
    if (match := _POSITION.fullmatch(text)) is None:
        raise ValueError("is not a position in this ledger")
    at, member, number, index = match.groups()
    return int(at), member, int(number), int(index)


def _matches(row: Row, matching: EntryFilter) -> bool:
    _, entry, item = row
    recorded_at = from_micros(entry.recorded_at)
    return (
        item["st"] in STATES
        and matching.state in (None, STATES[item["st"]])
        and matching.workflow_id in (None, entry.workflow_id)
        and (matching.recorded_from is None or recorded_at >= matching.recorded_from)
        and (matching.recorded_to is None or recorded_at < matching.recorded_to)
    )


def _stored_entry(entry: JournalEntry, item: Mapping[str, Any], detail: bytes) -> StoredEntry:
    is_settled = item["st"] != PENDING_STATE
    return StoredEntry(
        Entry(entry.execution_id, Feed(entry.workflow_id, entry.user_id or None), from_micros(entry.time), detail),
        STATES[item["st"]],
        recorded_at=from_micros(entry.recorded_at),
        settled_at=from_micros(item["sa"]) if is_settled else None,
        attempts=item.get("n", 0),
        result=item.get("ev", "") if is_settled else "",
        reason=item.get("rs", "") if is_settled else "",
        send_number=item.get("sn", 1),
    )
