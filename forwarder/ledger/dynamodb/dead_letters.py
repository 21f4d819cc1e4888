"""Dead letters: listing, retry and purge."""

from collections.abc import Collection
from datetime import datetime

from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.dead_letter_items import StoredDeadLetter
from forwarder.ledger.dynamodb.executions import DEAD_STATE
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.schema import digest
from forwarder.ledger.dynamodb.visit import VisitStore
from forwarder.ledger.dynamodb.window import PURGED, RETRIED
from forwarder.ledger.models import DeadLetter

NamedDeadLetter = tuple[str, str, StoredDeadLetter]
"""The name of a dead letter's item, the owner of its execution, and the dead letter."""


class DeadLetterStore(VisitStore):
    """The operations on dead letters."""

    async def dead_letters(self) -> list[DeadLetter]:
        return [stored.dead_letter for _, _, stored in await self._dead(None)]

    async def dead_letter(self, execution_id: str) -> DeadLetter | None:
        found = await self._dead([execution_id])
        return found[0][2].dead_letter if found else None

    async def retry_dead_letters(self, execution_ids: Collection[str] | None, *, now: datetime) -> int:
        found = await self._dead(execution_ids)
        # The details come along: the journal that held them may have expired.
        return len(await self._visit([_entry(RETRIED, owner, stored, now) for _, owner, stored in found], now))

    async def purge_dead_letters(self, execution_ids: Collection[str] | None) -> int:
        found, now = await self._dead(execution_ids), self._now()
        return len(await self._visit([_entry(PURGED, owner, stored, now) for _, owner, stored in found], now))

    async def _dead(self, execution_ids: Collection[str] | None) -> list[NamedDeadLetter]:
        """Return the dead letters of these executions, or all if None, the oldest first."""
        if execution_ids is None:
            every = await self._dead_letter_items.load_all()
            executions = await self._executions.load([stored.digest for _, stored in every])
        else:
            executions = await self._executions.load([digest(each) for each in dict.fromkeys(execution_ids)])
            names = [item["dl"] for item in executions.values() if item["st"] == DEAD_STATE and "dl" in item]
            every = await self._dead_letter_items.load(names)
        return [
            (name, item["o"], stored)
            for name, stored in sorted(every, key=lambda each: each[1].died_at)
            if (item := executions.get(stored.digest)) and item["st"] == DEAD_STATE and item.get("dl") == name
        ]


def _entry(kind: str, owner: str, stored: StoredDeadLetter, now: datetime) -> JournalEntry:
    return JournalEntry(
        kind,
        stored.digest,
        stored.execution_id,
        stored.workflow_id,
        stored.user_id,
        stored.time,
        stored.recorded_at,
        stored.send_number,
        base=owner,
        detail=stored.detail if kind == RETRIED else b"",
        stored_at=to_micros(now),
    )
