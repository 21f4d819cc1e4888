"""The transitions of executions: each is journaled first, then made by one conditional write."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from forwarder.errors import LedgerError
from forwarder.ledger.dynamodb.ended import EndedStore
from forwarder.ledger.dynamodb.executions import TransitionResult, owned_entry
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.schema import Place
from forwarder.ledger.dynamodb.window import UNVERIFIED

PlacedEntry = tuple[Place, JournalEntry]


def _identity(entry: JournalEntry) -> tuple[str, str, tuple[str, ...], str]:
    """Return what two entries of the same transition have in common."""
    return entry.kind, entry.digest, entry.owners, entry.base


class TransitionStore(EndedStore):
    """The operation that journals and makes transitions."""

    async def _make_transitions(
        self, member: Member, entries: Sequence[JournalEntry], now: datetime
    ) -> list[JournalEntry]:
        """Journal transitions, and make them. Return those that this member made.

        After LedgerError, some may have been made. The others are made at a later heartbeat, or by an heir. A further
        attempt does not journal them again.
        """
        journaled = {_identity(entry): place for place, entry in member.unresolved.items()}
        known = {place: entry for entry in entries if (place := journaled.get(_identity(entry))) is not None}
        waiting: dict[Place, JournalEntry] = {}
        if new := [entry for entry in entries if _identity(entry) not in journaled]:
            places = await member.journal.append(new, self._journal_expiry(now))
            waiting = dict(zip(places, new, strict=True))
        # A heartbeat may have made the others while the new ones were appended: they must not count twice.
        open_places = known.keys() & member.unresolved.keys()
        waiting |= {place: known[place] for place in open_places if member.may_resolve(place)}
        return await self._resolve(member, waiting, now) if waiting else []

    def _are_unresolved(self, member: Member, entries: Sequence[JournalEntry]) -> bool:
        """Return whether it is unknown of any of these transitions whether it was made."""
        unresolved = {_identity(entry) for entry in member.unresolved.values()}
        return any(_identity(entry) in unresolved for entry in entries)

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
        """Make journaled transitions. Meanwhile nobody claims the entries that they replace."""
        replaced = member.claim_owners(entries.values())
        member.unresolved.update(entries)
        member.resolving.update(entries)
        try:
            results = await asyncio.gather(
                *(self._apply(member, place, entry, now) for place, entry in entries.items()), return_exceptions=True
            )
        finally:
            member.resolving.difference_update(entries)
            member.release(replaced)
        for each in results:
            if isinstance(each, BaseException):
                raise each
        return [
            entry
            for entry, applied in zip(entries.values(), results, strict=True)
            if not isinstance(applied, BaseException) and applied.transition
        ]

    async def _apply(self, member: Member, place: Place, entry: JournalEntry, now: datetime) -> TransitionResult:
        applied = await self._executions.apply(entry, place, now)
        if applied.transition:
            await self._after_transition(entry)
        if member.unresolved.pop(place, None) is None:
            return applied
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

    async def _after_transition(self, entry: JournalEntry) -> None:
        """Delete the items that a transition makes useless. After an error, the transition is made again.

        Other use cases extend it.
        """

    async def _before_heartbeat(self, member: Member) -> None:
        await super()._before_heartbeat(member)
        for place, entry in member.journal.orphans.items():
            if entry.kind == UNVERIFIED:  # of a take-over that was cancelled: the next attempt makes another
                member.window.close(place.number)
            else:
                member.unresolved[place] = entry
        member.journal.orphans.clear()
        if member.unresolved:
            await self._do_beside_heartbeats(f"transitions of {member.id}", lambda: self._resolve_again(member))

    async def _resolve_again(self, member: Member) -> None:
        """Make the transitions of which it is unknown whether they were made."""
        waiting = {place: entry for place, entry in member.unresolved.items() if member.may_resolve(place)}
        if not waiting:
            return
        try:
            await self._resolve(member, waiting, self._now())
        except LedgerError:
            return  # the heartbeat itself reports an outage
