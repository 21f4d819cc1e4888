"""The claiming and settling of the entries that this member owns."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, assert_never

from forwarder.errors import LedgerError
from forwarder.ledger import attempts
from forwarder.ledger.codec import from_micros
from forwarder.ledger.dynamodb.dead_letter_items import DeadLetterItems
from forwarder.ledger.dynamodb.entries import EntryStore
from forwarder.ledger.dynamodb.journal_items import JournalEntry
from forwarder.ledger.dynamodb.member import Member, OwnedEntry, UnverifiedEntry
from forwarder.ledger.dynamodb.member_items import MemberItem, oldest_pending_of
from forwarder.ledger.dynamodb.membership import MAX_SAVED_ATTEMPTS
from forwarder.ledger.dynamodb.schema import Place, dead_letter_key
from forwarder.ledger.dynamodb.window import DEAD, PURGED, RETRIED, SENT
from forwarder.ledger.models import UNDECODABLE, Dead, Postponed, Sent, Settlement
from forwarder.model import ClaimedEntry, Entry, Token

MAX_CLAIM_BYTES = 32 * 1024 * 1024
"""The limit of the details of one claim. The last entry may exceed it."""


class ClaimStore(EntryStore):
    """The operations by which delivery gets its entries and settles them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._dead_letter_items = DeadLetterItems(self._table)

    async def claim(self, limit: int, *, now: datetime) -> list[ClaimedEntry]:
        member = await self._publishing_member()
        owned = member.take_due(limit, now)
        try:
            return await self._with_details(member, owned, now)
        except BaseException:
            member.release([each.token for each in owned])
            raise

    async def _with_details(self, member: Member, owned: Sequence[OwnedEntry], now: datetime) -> list[ClaimedEntry]:
        """Return claimed entries with their details. Settle those whose details cannot be read."""
        details = await self._journals.details_of([(each.place, each.journaled) for each in owned])
        claimed: list[ClaimedEntry] = []
        undecodable: list[str] = []
        size = 0
        for each in owned:
            if size > MAX_CLAIM_BYTES:
                member.release([each.token])
            elif (detail := details.get(each.place)) is None:
                undecodable.append(each.token)
            else:
                size += len(detail)
                claimed.append(_claimed_entry(each, detail))
        if undecodable:
            reason = "the detail in the ledger cannot be read"
            await self.settle([Dead(token, UNDECODABLE, reason) for token in undecodable], now=now)
        return claimed

    def release(self, tokens: Collection[Token]) -> None:
        if self._member is not None:
            self._member.release(tokens)
        for token in tokens:
            self._former_claims.pop(str(token), None)

    def owns(self, tokens: Collection[Token]) -> bool:
        member = self._member
        if member is None or self._is_too_old_to_publish(member):
            return False
        return all(str(token) in member.pending for token in tokens)

    async def next_due(self) -> datetime | None:
        return (await self._joined()).next_due()

    async def oldest_pending(self) -> datetime | None:
        if self._member is None:
            await self._load_members(consistent=True)
        return self._oldest_pending({name: item for name, item in self._members.items() if name != self._own_id})

    async def oldest_own_pending(self) -> datetime | None:
        if self._member is None:
            return await self.oldest_pending()
        return self._oldest_pending({name: item for name, item in self._members.items() if self._is_ended(name, item)})

    def _oldest_pending(self, others: Mapping[str, MemberItem]) -> datetime | None:
        """Return when the oldest pending entry of this process and of `others` was recorded."""
        own = None if self._member is None else self._member.oldest_pending()
        times = [own, *map(oldest_pending_of, others.values())]
        return min((each for each in times if each is not None), default=None)

    async def settle(self, settlements: Sequence[Settlement], *, now: datetime, bus: str = "") -> int:
        self._settlement_seq += 1
        seq = self._settlement_seq
        member = self._member
        results = await asyncio.gather(
            *(self._settle(member, each, now, bus, seq) for each in settlements), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return seq

    async def last_settlement_seq(self) -> int:
        return self._settlement_seq

    @property
    def _own_id(self) -> str:
        return "" if self._member is None else self._member.id

    async def _settle(self, member: Member | None, settlement: Settlement, now: datetime, bus: str, seq: int) -> None:
        token = str(settlement.token)
        owned = (member and member.pending.get(token)) or self._former_claims.get(token)
        if owned is None:  # settled before
            return
        match settlement:
            case Sent():
                ended = _attempted(owned)
                is_settled = await self._executions.settle(
                    ended, SENT, now, result=settlement.event_id, reason="", bus=bus, seq=seq
                )
                is_unverified = is_settled and bus in self._verified_buses
                unverified = UnverifiedEntry(seq, bus, owned.place, token, owned.journaled) if is_unverified else None
                if self._end(member, owned, SENT if is_settled else "", unverified) and is_settled:
                    self._traffic.count_sent([(from_micros(owned.journaled.time), owned.send_number > 1)], now)
            case Dead():
                is_settled = await self._settle_dead(owned, settlement, now, bus, seq)
                self._end(member, owned, DEAD if is_settled else "", None)
            case Postponed():
                await self._postpone(member, owned, settlement, now)
            case _:
                assert_never(settlement)

    async def _settle_dead(self, owned: OwnedEntry, dead: Dead, now: datetime, bus: str, seq: int) -> bool:
        details = await self._journals.details_of([(owned.place, owned.journaled)])
        ended = _attempted(owned)
        ended.history = attempts.extended(owned.history, dead.code, now)
        name = await self._dead_letter_items.put(ended, dead, details.get(owned.place, b"null"), now)
        is_settled = await self._executions.settle(
            ended, DEAD, now, result=dead.code, reason=dead.reason, bus=bus, seq=seq, dead_letter=name
        )
        if not is_settled:
            await self._dead_letter_items.delete(name)
        return is_settled

    async def _after_transition(self, entry: JournalEntry) -> None:
        """Delete the dead letter that was retried or purged. No command lists its item any more."""
        await super()._after_transition(entry)
        if entry.kind in (RETRIED, PURGED):
            key = dead_letter_key(entry.digest, Place.of(entry.base))
            await self._dead_letter_items.delete(f"{key.p}/{key.s}")

    async def _postpone(self, member: Member | None, owned: OwnedEntry, postponed: Postponed, now: datetime) -> None:
        owned.attempts += 1
        owned.history = attempts.extended(owned.history, postponed.code, now)
        owned.has_unsaved_attempts = True
        owned.due_at = postponed.due_at
        if postponed.unclassified_attempt:
            owned.unclassified_attempts += 1
            try:
                await self._executions.save_attempts(owned)
            except LedgerError:
                # The whole settlement is tried again.
                owned.attempts, owned.unclassified_attempts = owned.attempts - 1, owned.unclassified_attempts - 1
                owned.history = owned.history[:-1]
                raise
            owned.has_unsaved_attempts = False
        self._former_claims.pop(owned.token, None)
        if member is not None and owned.token in member.pending:
            member.claimed.discard(owned.token)
            member.postpone(owned, postponed.due_at)

    def _end(
        self, member: Member | None, owned: OwnedEntry, transition: str, unverified: UnverifiedEntry | None
    ) -> bool:
        """Remove an entry that is settled, or another member's by now. Return False if it was removed before."""
        if member is None or member.disown(owned.token) is None:  # of an earlier membership, which the heir counts
            return self._former_claims.pop(owned.token, None) is not None
        if transition:
            member.window.count(owned.place.number, transition)
        if unverified is None:
            member.window.close(owned.place.number)
        else:
            member.unverified.append(unverified)
        return True

    async def _before_leaving(self, member: Member) -> None:
        await super()._before_leaving(member)
        unsaved = [each for each in member.pending.values() if each.has_unsaved_attempts]
        await asyncio.gather(*(self._executions.save_attempts(each) for each in unsaved[:MAX_SAVED_ATTEMPTS]))


def _attempted(owned: OwnedEntry) -> OwnedEntry:
    """Return a copy with one more attempt. The original stays as it is until the settlement succeeds."""
    return OwnedEntry(
        owned.place,
        owned.journaled,
        owned.due_at,
        owned.attempts + 1,
        owned.unclassified_attempts,
        owned.history,
        owned.send_number,
    )


def _claimed_entry(owned: OwnedEntry, detail: bytes) -> ClaimedEntry:
    entry = Entry(owned.journaled.execution_id, owned.feed, from_micros(owned.journaled.time), detail)
    return ClaimedEntry(
        owned.token,
        entry,
        attempts=owned.attempts,
        unclassified_attempts=owned.unclassified_attempts,
        send_number=owned.send_number,
    )
