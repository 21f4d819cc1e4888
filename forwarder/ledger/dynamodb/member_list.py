"""The members of the fleet, as this process observes them.

A member is dead when its heartbeat number did not change during several successful heartbeats of an observer. No clock
is compared for that. While no process can write to the table, no member counts as dead.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from forwarder.ledger.dynamodb.background import BackgroundStore
from forwarder.ledger.dynamodb.feed_items import StoredFeed
from forwarder.ledger.dynamodb.member import Member
from forwarder.ledger.dynamodb.member_items import EndedMembers, MemberItem, fleet_member
from forwarder.ledger.dynamodb.schema import LEDGER, MEMBERS
from forwarder.ledger.dynamodb.store import boot_seconds
from forwarder.ledger.fleet import Fleet, FleetMember, rendezvous
from forwarder.model import Feed

MISSED_HEARTBEATS = 5
"""The successful heartbeats of an observer during which the heartbeat number of a dead member did not change."""

MAX_TAKE_OVERS = 2
"""The take-overs at a time. They write to the partition of the heartbeats, whose connections they share."""

OBSERVATION_SHARE = 0.9
"""The time between two observations that count, in heartbeat intervals.

A reload of the settings writes a heartbeat at once. After several reloads in a row, a living member must not count as
dead.
"""


@dataclass(slots=True)
class _Observation:
    beats: int
    stood_still: int = 0
    was_alive: bool = False
    """True if it has written a heartbeat since the first observation, or was taken over by this process."""


class MemberListStore(BackgroundStore):
    """The operations that read the items of all members."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._observed: dict[str, _Observation] = {}
        self._observed_at = float("-inf")
        self._members: dict[str, MemberItem] = {}
        """The items of all members at the last heartbeat, without those that count in `_ended`."""
        self._ended = EndedMembers()
        self._take_overs: dict[str, asyncio.Task[None]] = {}
        self._take_over_slots = asyncio.Semaphore(MAX_TAKE_OVERS)
        self._failed_take_overs: set[str] = set()
        """The members whose take-over failed with an internal fault, which is logged once for each."""
        self._has_feeds = True
        self._feed_group = ""
        self._cannot_read = False
        self._polled_at: datetime | None = None
        """When this process last polled any feed."""
        self._feeds: dict[Feed, StoredFeed] = {}
        """The feeds whose checkpoints this process keeps in memory."""

    def set_feed_group(self, group: str) -> None:
        self._feed_group = group

    def set_cannot_read(self, *, cannot_read: bool) -> None:
        self._cannot_read = cannot_read

    def give_up_feeds(self) -> None:
        self._has_feeds = False

    async def members(self) -> Fleet:
        """Return the members as of the last heartbeat, or as they are now if this process is no member."""
        if self._member is None:
            await self._load_members(consistent=True)
        return self._fleet(self._member)

    async def _load_members(self, *, consistent: bool = False) -> None:
        items = {item["s"]: item async for item in self._table.query(MEMBERS, consistent=consistent)}
        self._ledger_item = items.pop(LEDGER.s, self._ledger_item)
        self._ended = EndedMembers.of(self._ledger_item)
        self._members = {name: item for name, item in items.items() if "be" in item and name not in self._ended.names}

    def _observe_all(self, member: Member) -> None:
        """Compare the heartbeats of all other members with those of the last call."""
        now = boot_seconds()
        is_first = self._observed_at == float("-inf")
        counts = now - self._observed_at >= self._observation_seconds
        if counts:
            self._observed_at = now
        others = {name: item for name, item in self._members.items() if name != member.id}
        self._observed = {
            name: self._observe(name, item, counts=counts, is_first=is_first) for name, item in others.items()
        }

    @property
    def _observation_seconds(self) -> float:
        """Return the time after which a heartbeat that stands still counts again."""
        return OBSERVATION_SHARE * self._heartbeat_seconds

    def _observe(self, name: str, item: MemberItem, *, counts: bool, is_first: bool) -> _Observation:
        before = self._observed.get(name)
        if before is None or before.beats != item["be"]:
            # The next one that counts is the first.
            return _Observation(item["be"], 0 if counts else -1, was_alive=not is_first)
        return replace(before, stood_still=before.stood_still + counts)

    def _is_ended(self, name: str, item: MemberItem) -> bool:
        """Return whether a member has left, or is dead, and its entries wait for an heir."""
        observed = self._observed.get(name)
        stood_still = observed is not None and observed.stood_still >= self._max_missed(item)
        return "gone" not in item and ("lf" in item or stood_still)

    def _may_have_ended(self, name: str, item: MemberItem) -> bool:
        """Return whether a member was never seen alive, and wrote its last heartbeat long ago by the clocks of both.

        It gets no feeds. If its clock is wrong, this lasts until its next heartbeat. Otherwise a process that is killed
        soon after each start would share its feeds with all its earlier memberships, because it never runs long enough
        to take them over.
        """
        observed = self._observed.get(name)
        return not (observed and observed.was_alive) and not fleet_member(name, item).is_running(self._now())

    def _max_missed(self, item: MemberItem) -> float:
        """Return during how many heartbeats of this process that of a member may stand still.

        While `ledger.heartbeat_interval` is changed, process after process, a slower one has more of them.
        """
        interval_seconds: float = item.get("iv", 0) / 1000
        return MISSED_HEARTBEATS * max(1.0, interval_seconds / self._heartbeat_seconds)

    def _fleet(self, member: Member | None) -> Fleet:
        """Return the members that forward. Commands, which visit, and members without feeds do not count."""
        others = [
            fleet_member(name, item)
            for name, item in self._members.items()
            if (member is None or name != member.id)
            and not {"gone", "lf", "heir", "cm"} & item.keys()
            and not item.get("dr")
            and not self._is_ended(name, item)
            and not (member is not None and self._may_have_ended(name, item))
        ]
        own = [] if member is None else [self._own_member(member)]
        enabled = bool(self._ledger_item.get("en", 1))
        own_id = "" if member is None else member.id
        return Fleet(tuple(sorted([*own, *others])), own_id, enabled, feeds_version=self._feeds_version)

    @property
    def _feeds_version(self) -> int:
        """Return the number of changes of the list of feeds, as of the last read of the ledger's item."""
        version: int = self._ledger_item.get("feeds_version", 0)
        return version

    def _fleet_with_silent(self, member: Member) -> Fleet:
        """Return the members that forward, and those of which it is unknown whether they need an heir."""
        fleet = self._fleet(member)
        living = [each.id for each in fleet.members]
        silent = [
            fleet_member(name, item)
            for name, item in self._members.items()
            if name != member.id and "gone" not in item and self._is_silent(name, item, member, living)
        ]
        return replace(fleet, silent=tuple(silent))

    def _is_silent(self, name: str, item: MemberItem, member: Member, living: list[str]) -> bool:
        """Return whether a member may need an heir that is not at work yet, or is this process."""
        if name in self._take_overs:
            return True
        observed = self._observed.get(name)
        if observed is None or observed.was_alive:
            return False
        return not self._is_ended(name, item) or rendezvous(name, living) == member.id

    def _own_member(self, member: Member) -> FleetMember:
        consumed = self._table.consumed
        return FleetMember(
            member.id,
            self._host,
            self._now(),
            len(self._feeds),
            consumed.read,
            consumed.write,
            heartbeat_interval=timedelta(seconds=self._heartbeat_seconds),
            feed_group=self._feed_group,
            cannot_read=self._cannot_read,
            polled_at=self._polled_at,
        )
