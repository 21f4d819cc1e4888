"""The lists of entries. No index is kept for them: they are read from the journals, the newest items first."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from heapq import nlargest
from typing import Any, Final

import msgspec

from forwarder.ledger.codec import from_micros
from forwarder.ledger.dynamodb.dead_letters import DeadLetterStore
from forwarder.ledger.dynamodb.executions import DEAD_STATE, PENDING_STATE, SENT_STATE, ExecutionItem, transition_at
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.schema import Place, digest
from forwarder.ledger.dynamodb.window import RECORDED
from forwarder.ledger.models import EntryFilter, EntryPage, EntryState, StoredEntry
from forwarder.model import Entry, Feed

_STATES: Final[dict[int, EntryState]] = {PENDING_STATE: "pending", SENT_STATE: "sent", DEAD_STATE: "dead"}

MEMBER_PATTERN: Final = "[0-9a-f]{12}"
_POSITION: Final = re.compile(f"(-?[0-9]{{1,18}})_({MEMBER_PATTERN})_([0-9]{{1,12}})_([0-9]{{1,9}})")
MAX_LISTED_ITEMS = 500
"""The items of each journal that a list of entries reads. An item has the failures of one poll, or of several."""

MAX_SILENCE_MICROSECONDS = 600_000_000
"""The time after a heartbeat in which its member may still have recorded, by its own clock."""

MAX_JOINED_ENTRIES = 500
"""The entries whose executions are read together."""

Row = tuple[Place, JournalEntry, ExecutionItem]
Position = tuple[int, str, int, int]


class PageStore(DeadLetterStore):
    """The operations that list entries."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._payload_horizon: int | None = None
        """The settlement before which payloads are treated as deleted, in microseconds."""

    async def entries(self, matching: EntryFilter, limit: int, *, before: str | None = None) -> EntryPage:
        position = None if before is None else _parse_position(before)
        found: list[tuple[Position, Row]] = []
        for row in await self._rows(matching, limit, position):
            at = _position(row)
            if _matches(row, matching) and (position is None or at < position):
                found.append((at, row))
        found.sort(key=lambda each: each[0], reverse=True)
        page = found[:limit]
        entries = await self._stored_entries([row for _, row in page])
        return EntryPage(entries, "{}_{}_{}_{}".format(*page[-1][0]) if len(found) > limit else None)

    async def stored_entry(self, execution_id: str) -> StoredEntry | None:
        found = await self._stored_executions([execution_id])
        rows = [(Place.of(item["pl"]), entry, item) for entry, item in found]
        entries = await self._stored_entries(rows)
        return entries[0] if entries else None

    async def _stored_executions(self, execution_ids: Iterable[str]) -> list[tuple[JournalEntry, ExecutionItem]]:
        """Return the executions with these ids whose payload is stored."""
        items = await self._executions.load([digest(each) for each in execution_ids])
        kept = {key: item for key, item in items.items() if item["st"] in _STATES and self._has_payload(item)}
        journaled = await self._journals.entries_of([Place.of(item["pl"]) for item in kept.values()])
        found = {
            key: (entry, item)
            for key, item in kept.items()
            if (entry := journaled.get(Place.of(item["pl"]))) is not None and entry.digest == key
        }
        dead = [item for key, item in kept.items() if key not in found and item["st"] == DEAD_STATE]
        letters = dict(await self._dead_letter_items.load([item["dl"] for item in dead]))
        return [*found.values(), *((_journaled(letters[item["dl"]]), item) for item in dead if item["dl"] in letters)]

    async def _rows(self, matching: EntryFilter, limit: int, position: Position | None) -> list[Row]:
        """Return the rows that may match. A filter for one execution, or for dead letters, reads only those.

        Otherwise each journal is read until it has enough rows for the page, at most MAX_LISTED_ITEMS of its items.
        Journals that ended before the oldest row of the page are not read: the status page lists entries every second.
        """
        if matching.execution_id is not None:
            found = await self._stored_executions([matching.execution_id])
            return [(_recording(item), entry, item) for entry, item in found]
        if matching.state == "dead":
            every = await self._dead(None)
            executions = await self._executions.load([stored.digest for *_, stored in every])
            return [
                (_recording(item), _journaled(stored), item)
                for _, _, stored in every
                if (item := executions.get(stored.digest)) is not None
            ]
        rows: list[Row] = []
        listed: list[int] = []
        for member, last in (await self._last_numbers()).items():
            if len(listed) > limit and self._ended_before(member, nlargest(limit + 1, listed)[-1]):
                continue
            count = 0
            async for row in self._newest_first(member, last, MAX_LISTED_ITEMS):
                if self._has_payload(row[2]):
                    rows.append(row)
                    if _matches(row, matching) and (position is None or _position(row) < position):
                        listed.append(row[1].recorded_at)
                        count += 1
                if count > limit:
                    break
        return rows

    def _ended_before(self, member: str, recorded_at: int) -> bool:
        """Return whether a member wrote its last heartbeat so long before a time that it recorded nothing since."""
        item = None if member == self._own_id else self._members.get(member)
        return item is not None and item["hb"] + MAX_SILENCE_MICROSECONDS < recorded_at

    async def _recorded_entries(self, wanted: Callable[[JournalEntry], bool]) -> AsyncIterator[Row]:
        """Yield the wanted entries of all journals at the places that recorded them.

        Whole journals are read in pages, because most items of a process that runs for months have expired. The rows
        have no details: those of a day need not fit in memory.
        """
        for member in await self._last_numbers():
            found: list[tuple[Place, JournalEntry]] = []
            async for number, entries in self._journals.entries_from(member):
                found += [
                    (Place(member, number, index), msgspec.structs.replace(entry, detail=b""))
                    for index, entry in enumerate(entries)
                    if wanted(entry)
                ]
                if len(found) >= MAX_JOINED_ENTRIES:
                    for row in await self._join(found):
                        yield row
                    found = []
            for row in await self._join(found):
                yield row

    async def _last_numbers(self) -> dict[str, int]:
        """Return the last number of each journal, that of the latest heartbeat first.

        Numbers after the last heartbeat of its member are missing.
        """
        await self._load_members(consistent=self._member is None)
        members = sorted(self._members.items(), key=lambda each: each[1]["hb"], reverse=True)
        numbers = {name: item["nx"] - 1 for name, item in members}
        if self._member is not None:
            numbers[self._member.id] = self._member.window.next_number - 1
        return numbers

    async def _newest_first(self, member: str, last: int, items: int) -> AsyncIterator[Row]:
        """Yield the entries that a journal recorded, newest first, from item `last` back over at most `items` items."""
        for number in range(last, max(0, last - items), -1):
            entries = await self._journals.entries_of_item(member, number)
            placed = [(Place(member, number, index), each) for index, each in enumerate(entries)]
            for row in await self._join(placed[::-1]):
                yield row

    async def _join(self, placed: Sequence[tuple[Place, JournalEntry]]) -> list[Row]:
        """Return entries with their executions, those that were recorded at these places."""
        items = await self._executions.load([entry.digest for _, entry in placed])
        return [
            (place, entry, item)
            for place, entry in placed
            if (item := items.get(entry.digest)) is not None and transition_at(item, place) == RECORDED
        ]

    async def _stored_entries(self, rows: Iterable[Row]) -> list[StoredEntry]:
        pairs = [(Place.of(item["pl"]), entry) for _, entry, item in rows]
        details = await self._journals.details_of([(place, entry) for place, entry in pairs if not entry.detail])
        missing = [place for place, entry in pairs if not entry.detail and place not in details]
        found = await self._journals.entries_of(missing) if missing else {}
        return [
            _stored_entry(entry, item, entry.detail or details.get(place) or _detail(found.get(place), entry.digest))
            for (place, entry), (_, _, item) in zip(pairs, rows, strict=True)
        ]

    def _has_payload(self, item: ExecutionItem) -> bool:
        """Return whether the payload of an execution counts as stored: if it is not sent, or was sent recently."""
        horizon = self._payload_horizon
        return item["st"] != SENT_STATE or horizon is None or item["sa"] >= horizon


def _detail(entry: JournalEntry | None, digest: str) -> bytes:
    return b"null" if entry is None or not entry.detail or entry.digest != digest else entry.detail


def _journaled(stored: Any) -> JournalEntry:
    return JournalEntry(
        RECORDED, stored.digest, stored.execution_id, stored.workflow_id, stored.user_id, stored.time,
        stored.recorded_at, stored.send_number, detail=stored.detail,
    )  # fmt: skip


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
        item["st"] in _STATES
        and matching.state in (None, _STATES[item["st"]])
        and matching.workflow_id in (None, entry.workflow_id)
        and (matching.recorded_from is None or recorded_at >= matching.recorded_from)
        and (matching.recorded_to is None or recorded_at < matching.recorded_to)
    )


def _stored_entry(entry: JournalEntry, item: Mapping[str, Any], detail: bytes) -> StoredEntry:
    is_settled = item["st"] != PENDING_STATE
    return StoredEntry(
        Entry(entry.execution_id, Feed(entry.workflow_id, entry.user_id or None), from_micros(entry.time), detail),
        _STATES[item["st"]],
        recorded_at=from_micros(entry.recorded_at),
        settled_at=from_micros(item["sa"]) if is_settled else None,
        attempts=item.get("n", 0),
        result=item.get("ev", "") if is_settled else "",
        reason=item.get("rs", "") if is_settled else "",
        send_number=item.get("sn", 1),
    )
