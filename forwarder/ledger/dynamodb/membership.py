"""The membership of this process in the fleet: joining and heartbeats.

A heartbeat saves the mark and the counters of this member in one write. A member whose own heartbeat is old publishes
nothing, because another may have taken it over.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

import structlog

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.journal import MembershipLost
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.member_items import MemberItem, packed
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS, MemberListStore
from forwarder.ledger.dynamodb.schema import LEDGER, member_key
from forwarder.ledger.dynamodb.store import boot_seconds, micros_or_zero
from forwarder.ledger.fleet import Fleet, rendezvous

log = structlog.get_logger("fleet")

MAX_SAVED_ATTEMPTS = 1000
"""The entries whose attempts are saved when a member leaves."""


class MembershipStore(MemberListStore):
    """The operations by which a process is a member."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._join_lock = asyncio.Lock()
        self._heartbeat_failure: LedgerError | None = None
        """The error of the last heartbeat, if it was not written."""
        self._status = b""

    async def beat(self) -> Fleet:
        """Write this process's heartbeat, and return the members that are alive. Take over those that are not."""
        try:
            fleet = await self._beat()
        except LedgerError as error:
            self._heartbeat_failure = error
            raise
        self._heartbeat_failure = None
        return fleet

    async def _current_ledger_item(self) -> Mapping[str, Any]:
        """Return the ledger's item, as of the last heartbeat if this process is a member and has written one."""
        if self._member is None or self._heartbeat_failure is not None:
            return await self._load_ledger_item()
        return self._ledger_item

    def require_heartbeat(self) -> None:
        """Raise the error of the last heartbeat, if it was not written."""
        if (failure := self._heartbeat_failure) is not None:
            raise LedgerUnavailable(failure.message, hint=failure.hint)

    async def _beat(self) -> Fleet:
        member = await self._joined()
        member.is_draining = False
        try:
            self._begin_heartbeat()
            failure = await failure_of(self._before_heartbeat(member))
            await self._write_heartbeat(member)
            if failure is not None:  # otherwise the heartbeat itself reports the outage
                log.warning("state not saved before a heartbeat", reason=failure.message, hint=failure.hint)
        except MembershipLost:
            await self._end_membership(member)
            log.warning("taken over by another forwarder, joining again", member=member.id)
            member = await self._joined()
        if member.beats > 1 or not member.has_observed:  # a new member observes the others when it joins
            await self._observe_members(member)
        return self._fleet_with_silent(member)

    async def _joined(self) -> Member:
        """Return this process's membership. Join first, and take over the members that have left."""
        async with self._join_lock:
            if self._member is None:
                member = Member(self._table, self._journals)
                member.sent_at = boot_seconds()
                item = self._heartbeat(member) | {"be": 0, "host": self._host}
                await self._table.put(member_key(member.id), item, condition="attribute_not_exists(p)")
                await self._turn_on_if_new()
                self._member = member
                log.info("joined", member=f"{self._host}/{member.id}")
                await self._observe_members(member)
            return self._member

    async def _turn_on_if_new(self) -> None:
        """Save the switch of a new ledger as on."""
        if "en" not in await self._load_ledger_item():
            await self._table.update(LEDGER, "SET en = :on", condition="attribute_not_exists(en)", on=1)
            await self._load_ledger_item()

    async def _publishing_member(self) -> Member:
        """Return this process's membership. Raise LedgerUnavailable if another member may have taken it over."""
        member = await self._joined()
        if self._is_too_old_to_publish(member):
            raise LedgerUnavailable(
                "the heartbeat of this process is too old to publish: another forwarder may have taken it over",
                hint="it publishes again after the next heartbeat; see whether this machine was paused",
            )
        return member

    def _is_too_old_to_publish(self, member: Member) -> bool:
        """Return whether another member may have taken this one over since its last heartbeat."""
        return boot_seconds() - member.sent_at > (MISSED_HEARTBEATS - 2) * self._heartbeat_seconds

    async def _before_heartbeat(self, member: Member) -> None:
        """Do the work that belongs to each heartbeat. Other use cases extend it."""
        if not self._has_feeds:
            await self._before_draining(member)

    async def _before_draining(self, member: Member) -> None:
        """Save what the next owners of this process's feeds need. Other use cases extend it."""

    async def _before_leaving(self, member: Member) -> None:
        """Save what is only in memory. Other use cases extend it."""

    async def _take_over(self, member: Member, other: MemberItem) -> None:
        """Adopt the entries of another member. `takeover.py` implements it."""

    async def _write_heartbeat(self, member: Member, *, left: bool = False) -> None:
        if member.journal.is_sealed:  # by an heir, or by a copy of this process with the same member
            raise MembershipLost
        member.window.advance()
        sent_at = boot_seconds()
        values = self._heartbeat(member) | {"be": member.beats + 1} | ({"lf": 1} if left else {})
        changes = ", ".join(f"{name} = :{name}" for name in values)
        item = await self._table.update(
            member_key(member.id),
            f"SET {changes}",
            # The reply of the last heartbeat may have been lost. Any other number is that of a restored table.
            condition="(be = :before OR be = :be) AND attribute_not_exists(heir)",
            before=member.beats,
            **values,
        )
        if item is None:
            raise MembershipLost
        member.beats += 1
        member.sent_at = sent_at

    def _heartbeat(self, member: Member) -> dict[str, Any]:
        return {
            "mk": member.window.mark,
            "nx": member.window.next_number,
            "bl": packed(member.window.below),
            "tt": packed(member.window.totals),
            "op": micros_or_zero(member.oldest_pending()),
            "vs": packed(member.verified_seqs),
            "rp": sum(each.send_number > 1 for each in member.pending.values()),
            "sv": self._status,
            "hb": to_micros(self._now()),
            "iv": round(self._heartbeat_seconds * 1000),
            "fe": len(self._feeds),
            "fg": self._feed_group,
            "cr": int(self._cannot_read),
            "lp": micros_or_zero(self._polled_at),
            "ru": round(self._table.consumed.read),
            "wu": round(self._table.consumed.write),
            "dr": int(member.is_draining or not self._has_feeds),
        }

    async def _observe_members(self, member: Member) -> None:
        """Observe the other members. Take over each ended member that is assigned to this one."""
        is_first = not self._observed
        await self._load_members(consistent=is_first)
        self._observe_all(member)
        member.has_observed = True
        living = [each.id for each in self._fleet(member).members]
        for name, item in self._members.items():
            if name == member.id or not self._is_ended(name, item) or name in self._take_overs:
                continue
            if rendezvous(name, living) == member.id:
                self._take_overs[name] = asyncio.create_task(self._take_over_and_log(member, item))
        if self._take_overs:  # a large one goes on beside the next heartbeats
            await asyncio.wait(self._take_overs.values(), timeout=self._heartbeat_seconds / 2)

    async def _take_over_and_log(self, member: Member, other: MemberItem) -> None:
        try:
            async with self._take_over_slots:
                await self._take_over(member, other)
            if observed := self._observed.get(other["s"]):
                observed.was_alive = True
        except LedgerError as error:  # the next heartbeat tries again
            log.warning("take-over not complete", member=other["s"], reason=error.message, hint=error.hint)
        except Exception as error:
            if other["s"] not in self._failed_take_overs:  # each heartbeat tries again
                self._failed_take_overs.add(other["s"])
                log.exception("take-over failed", member=other["s"], exception_type=type(error).__name__)
        finally:
            if self._take_overs.get(other["s"]) is asyncio.current_task():  # a visitor has none in the list
                del self._take_overs[other["s"]]

    async def _end_membership(self, member: Member) -> None:
        """Drop a membership whose heartbeat was refused. `replaced_table.py` implements it."""

    def _drop(self, member: Member) -> None:
        """Forget a membership that has ended. Its entries have another owner by now."""
        self._former_claims |= {token: member.pending[token] for token in member.claimed if token in member.pending}
        if self._member is member:
            self._member = None

    async def _cancel_take_overs(self) -> None:
        """Cancel the take-overs that have begun. Another heir goes on, from the journal of this member."""
        if take_overs := list(self._take_overs.values()):
            for each in take_overs:
                each.cancel()
            await asyncio.wait(take_overs)
            self._take_overs.clear()  # a task that was cancelled before its first step removes nothing


async def failure_of(work: Awaitable[None]) -> LedgerError | None:
    """Do work whose failure stops no heartbeat, because others would take this member over. Return the failure."""
    try:
        await work
    except LedgerError as error:
        return error
    except Exception as error:
        log.exception("work before a heartbeat failed", exception_type=type(error).__name__)
        return LedgerError(f"internal fault: {type(error).__name__}", hint="report this: it must not happen")
    return None
