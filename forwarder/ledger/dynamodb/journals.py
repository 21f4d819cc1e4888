"""The reading of all journals. The items that were read or written last are cached: an item never changes."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from typing import Any

from forwarder.ledger.dynamodb.journal_items import JournalEntry, part_key, unpack
from forwarder.ledger.dynamodb.schema import Place, journal, number_text
from forwarder.ledger.dynamodb.table import Key, Table

MAX_CACHED_BYTES = 32 * 1024 * 1024

MAX_ITEMS_READ = 16
"""The items that are read together. Each has up to 600 KB, and only the wanted entries are kept."""


class Journals:
    """A reader of all journals."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._cached: OrderedDict[tuple[str, int], list[JournalEntry]] = OrderedDict()
        self._cached_bytes = 0

    async def entries_from(self, member: str, start: int = 0) -> AsyncIterator[tuple[int, list[JournalEntry]]]:
        """Yield the numbers of a journal's items, from a number on, with their entries. A seal has none."""
        partition = journal(member)
        async for item in self._table.query(partition, start=number_text(start)):
            if "/" not in item["s"]:
                yield int(item["s"]), await self._decode(member, int(item["s"]), item)

    async def entries_of_item(self, member: str, number: int) -> list[JournalEntry]:
        """Return the entries of an item, or none if it does not exist."""
        if (cached := self._cached.get((member, number))) is not None:
            return cached
        item = await self._table.get(Key(journal(member), number_text(number)))
        return [] if item is None else await self._decode(member, number, item)

    async def entries_of(self, places: Iterable[Place]) -> dict[Place, JournalEntry]:
        """Return the entries at these places that are stored. The caller compares their digests."""
        by_item: dict[tuple[str, int], list[Place]] = {}
        for place in places:
            by_item.setdefault((place.member, place.number), []).append(place)
        found = {
            place: entries[place.index]
            for item, wanted in by_item.items()
            if (entries := self._cached.get(item)) is not None
            for place in wanted
            if place.index < len(entries)
        }
        missing = [each for each in by_item if each not in self._cached]
        for start in range(0, len(missing), MAX_ITEMS_READ):
            keys = {
                Key(journal(each[0]), number_text(each[1])): each for each in missing[start : start + MAX_ITEMS_READ]
            }
            for key, item in (await self._table.get_many(keys)).items():
                entries = await self._decode(*keys[key], item)
                found |= {place: entries[place.index] for place in by_item[keys[key]] if place.index < len(entries)}
        return found

    async def details_of(self, entries: Iterable[tuple[Place, JournalEntry]]) -> dict[Place, bytes]:
        """Return the details of entries by their own places. A detail may be stored at another place.

        A detail of another execution is not returned: the event would have the wrong content.
        """
        pairs = list(entries)
        elsewhere = await self.entries_of([Place.of(entry.payload) for _, entry in pairs if entry.payload])
        return {
            place: found.detail
            for place, entry in pairs
            if (found := elsewhere.get(Place.of(entry.payload)) if entry.payload else entry)
            and found.detail
            and found.digest == entry.digest
        }

    async def _decode(self, member: str, number: int, item: dict[str, Any]) -> list[JournalEntry]:
        body = item.get("body", b"")
        if count := item.get("parts"):
            keys = [part_key(member, number, item["nonce"], index) for index in range(count)]
            parts = await self._table.get_many(keys)
            body = b"".join(parts[key]["body"] for key in keys if key in parts)
        entries = unpack(body)
        self.keep((member, number), entries)
        return entries

    def keep(self, key: tuple[str, int], entries: list[JournalEntry]) -> None:
        """Cache the entries of an item."""
        if key not in self._cached and entries:
            self._cached[key] = entries
            self._cached_bytes += _size(entries)
            while self._cached_bytes > MAX_CACHED_BYTES and len(self._cached) > 1:
                _, dropped = self._cached.popitem(last=False)
                self._cached_bytes -= _size(dropped)


def _size(entries: list[JournalEntry]) -> int:
    return sum(len(each.detail) + 200 for each in entries)
