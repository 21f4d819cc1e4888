"""The transitions that a person requests, in the daemon or in a command.

A command has no membership. It joins for the time of its transitions, and leaves at once: a member that runs the loops
adopts its entries at the next heartbeat.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from forwarder.errors import LedgerError
from forwarder.ledger.dynamodb.claims import ClaimStore
from forwarder.ledger.dynamodb.journal import MembershipLost
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.schema import member_key


class VisitStore(ClaimStore):
    """The operation that makes transitions as a member, or as a visitor."""

    async def _visit(self, entries: Sequence[JournalEntry], now: datetime) -> list[JournalEntry]:
        """Make transitions. Return those that were made."""
        if not entries:
            return []
        if self._member is not None:
            return await self._make_transitions(self._member, entries, now)
        visitor = Member(self._table, self._journals)
        item = self._heartbeat(visitor) | {"be": 0, "host": self._host, "cm": 1}
        await self._table.put(member_key(visitor.id), item, condition="attribute_not_exists(p)")
        async with self._heartbeats_of(visitor):
            made = await self._make_transitions(visitor, entries, now)
        with contextlib.suppress(MembershipLost):  # this process was paused: its heir has the entries
            await self._write_heartbeat(visitor, left=True)
        return made

    @contextlib.asynccontextmanager
    async def _heartbeats_of(self, visitor: Member) -> AsyncIterator[None]:
        """Write heartbeats during a block. Many transitions take longer than the others wait for a silent member."""

        async def write() -> None:
            while True:
                await asyncio.sleep(self._heartbeat_seconds)
                with contextlib.suppress(LedgerError):  # the transitions themselves report it
                    await self._write_heartbeat(visitor)

        heartbeats = asyncio.create_task(write())
        try:
            yield
        finally:
            heartbeats.cancel()
            await asyncio.wait([heartbeats])
