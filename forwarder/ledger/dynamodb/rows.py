"""The rows of lists and replays: entries at the places that recorded them, with their executions."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from forwarder.ledger.dynamodb.dead_letters import DeadLetterStore
from forwarder.ledger.dynamodb.executions import DEAD_STATE, PENDING_STATE, SENT_STATE, ExecutionItem, transition_at
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.schema import Place, digest
from forwarder.ledger.dynamodb.window import RECORDED
from forwarder.ledger.models import EntryState

STATES: Final[dict[int, EntryState]] = {PENDING_STATE: "pending", SENT_STATE: "sent", DEAD_STATE: "dead"}

MAX_JOINED_ENTRIES = 500
"""The entries whose executions are read together."""

Row = tuple[Place, JournalEntry, ExecutionItem]


class RowStore(DeadLetterStore):
    """The operations that join journaled entries with their executions."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._payload_horizon: int | None = None
        """The settlement before which payloads are treated as deleted, in microseconds."""

    async def _stored_executions(self, execution_ids: Iterable[str]) -> list[tuple[JournalEntry, ExecutionItem]]:
        """Return the executions with these ids whose payload is stored."""
        items = await self._executions.load([digest(each) for each in execution_ids])
        kept = {key: item for key, item in items.items() if item["st"] in STATES and self._has_payload(item)}
        journaled = await self._journals.entries_of([Place.of(item["pl"]) for item in kept.values()])
        found = {
            key: (entry, item)
            for key, item in kept.items()
            if (entry := journaled.get(Place.of(item["pl"]))) is not None and entry.digest == key
        }
        dead = [item for key, item in kept.items() if key not in found and item["st"] == DEAD_STATE]
        letters = dict(await self._dead_letter_items.load([item["dl"] for item in dead]))
        return [
            *found.values(),
            *((journaled_entry(letters[item["dl"]]), item) for item in dead if item["dl"] in letters),
        ]

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

    async def _join(self, placed: Sequence[tuple[Place, JournalEntry]]) -> list[Row]:
        """Return entries with their executions, those that were recorded at these places."""
        items = await self._executions.load([entry.digest for _, entry in placed])
        return [
            (place, entry, item)
            for place, entry in placed
            if (item := items.get(entry.digest)) is not None and transition_at(item, place) == RECORDED
        ]

    def _has_payload(self, item: ExecutionItem) -> bool:
        """Return whether the payload of an execution counts as stored: if it is not sent, or was sent recently."""
        horizon = self._payload_horizon
        return item["st"] != SENT_STATE or horizon is None or item["sa"] >= horizon


def journaled_entry(stored: Any) -> JournalEntry:
    return JournalEntry(
        RECORDED, stored.digest, stored.execution_id, stored.workflow_id, stored.user_id, stored.time,
        stored.recorded_at, stored.send_number, detail=stored.detail,
    )  # fmt: skip
