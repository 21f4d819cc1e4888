"""The transitions of executions: each is journaled first, then made by one conditional write."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from forwarder.errors import LedgerError
from forwarder.ledger.dynamodb.ended import EndedStore
from forwarder.ledger.dynamodb.executions import Applied, owned_entry
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.schema import Place

Placed = tuple[Place, JournalEntry]


class TransitionStore(EndedStore):
    """The operation that journals and makes transitions."""

    async def _make_transitions(
        self, member: Member, entries: Sequence[JournalEntry], now: datetime
    ) -> list[JournalEntry]:
        """Journal transitions, and make them. Return those that this member made.

        After LedgerError, some were made nevertheless. The others are made at a later heartbeat, or by an heir.
        """
        if not entries:
            return []
        places = await member.journal.append(entries, self._journal_expiry(now))
        return await self._resolve(member, dict(zip(places, entries, strict=True)), now)

    async def _make_journaled(self, member: Member, digests: Collection[str], now: datetime) -> list[JournalEntry]:
        """Make transitions of executions that were journaled before, and return those that this member made.

        Transitions that are being made already are left out. After LedgerError, as in `_make_transitions`.
        """
        waiting = {
            place: entry
            for place, entry in member.unresolved.items()
            if entry.digest in digests and member.may_resolve(place)
        }
        return await self._resolve(member, waiting, now) if waiting else []

    async def _resolve(
        self, member: Member, entries: Mapping[Place, JournalEntry], now: datetime
    ) -> list[JournalEntry]:
        member.unresolved.update(entries)
        member.resolving.update(entries)
        try:
            results = await asyncio.gather(
                *(self._apply(member, place, entry, now) for place, entry in entries.items()), return_exceptions=True
            )
        finally:
            member.resolving.difference_update(entries)
        for each in results:
            if isinstance(each, BaseException):
                raise each
        return [
            entry
            for entry, applied in zip(entries.values(), results, strict=True)
            if not isinstance(applied, BaseException) and applied.transition
        ]

    async def _apply(self, member: Member, place: Place, entry: JournalEntry, now: datetime) -> Applied:
        applied = await self._executions.apply(entry, place, now)
        del member.unresolved[place]
        if applied.transition:
            member.window.count(place.number, applied.transition)
        if applied.item is not None:
            new = owned_entry(entry, place, applied, now)
            for token in entry.owners:  # this member's own, if it has stored the payload again
                if (old := member.disown(token)) is not None:
                    new.continue_from(old)
                    member.window.close(old.place.number)
            member.own(new)
        else:
            member.window.close(place.number)
        return applied

    async def _before_heartbeat(self, member: Member) -> None:
        await super()._before_heartbeat(member)
        member.unresolved.update(member.journal.orphans)
        member.journal.orphans.clear()
        waiting = {place: entry for place, entry in member.unresolved.items() if member.may_resolve(place)}
        if waiting:
            await self._do_beside_heartbeats(
                f"transitions of {member.id}", lambda: self._resolve_again(member, waiting)
            )

    async def _resolve_again(self, member: Member, waiting: Mapping[Place, JournalEntry]) -> None:
        try:
            await self._resolve(member, waiting, self._now())
        except LedgerError:
            return  # the heartbeat itself reports an outage
