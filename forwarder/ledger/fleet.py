"""The processes that share a ledger, and the assignment of feeds to them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b

from forwarder.ledger.models import DaemonStatus
from forwarder.model import Feed

MIN_HEARTBEAT_AGE_LIMIT = timedelta(minutes=1)
"""A process counts as running at least for this time after its last heartbeat, by the clocks of both machines."""

MAX_HEARTBEAT_INTERVALS = 5
"""The intervals after its last heartbeat for which a process counts as running, if they are longer."""

ALL_SHARDS = frozenset(range(64))
"""The shards of the users. One process of each feed group lists the workflows of a shard. 64 are divided about evenly
among the processes of a fleet; with many processes, some have none.
"""


@dataclass(frozen=True, slots=True, order=True)
class FleetMember:
    """A process that forwards from a shared ledger, as of its last heartbeat.

    `id` is new at each start, and `host` is the name of its machine. `heartbeat_at` is on that machine's clock, and
    `heartbeat_interval` is the time between two heartbeats. `feeds` is the number of its feeds that it has polled so
    far, and `read_units` and `write_units` are the capacity of DynamoDB that it has consumed.
    `status` is the status that it saved, or None if it has saved none. `feed_group` is a digest of the settings that
    name the feeds to watch. `polled_at` is when it last polled any feed. `cannot_read` means that the logs API does not
    respond to it, while it does to others.
    """

    id: str
    host: str
    heartbeat_at: datetime | None = field(default=None, compare=False)
    feeds: int = field(default=0, compare=False)
    read_units: float = field(default=0.0, compare=False)
    write_units: float = field(default=0.0, compare=False)
    status: DaemonStatus | None = field(default=None, compare=False)
    heartbeat_interval: timedelta = field(default=timedelta(), compare=False)
    feed_group: str = ""
    cannot_read: bool = False
    polled_at: datetime | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Return the name under which messages name this process."""
        return f"{self.host}/{self.id}"

    def is_running(self, now: datetime) -> bool:
        """Return whether the last heartbeat is recent, for display. It decides nothing, because clocks differ."""
        limit = max(MIN_HEARTBEAT_AGE_LIMIT, MAX_HEARTBEAT_INTERVALS * self.heartbeat_interval)
        return self.heartbeat_at is not None and abs(now - self.heartbeat_at) < limit


@dataclass(frozen=True, slots=True)
class Fleet:
    """The members that are alive, this process's own id, and the switch of all of them.

    `own_id` is empty if this process is no member. `silent` are other processes that may have been killed: they have
    written no heartbeat since this process joined, or it still takes over their entries. Only `beat` returns them.
    `feeds_version` grows when feeds are added to the ledger, and when the watched ones change.
    """

    members: tuple[FleetMember, ...]
    own_id: str
    enabled: bool = True
    silent: tuple[FleetMember, ...] = ()
    feeds_version: int = 0

    def is_own(self, feed: Feed) -> bool:
        """Return whether a feed is assigned to this process. Each feed is assigned to one member of each feed group."""
        return self._is_assigned(f"{feed.workflow_id}\0{feed.user_id}")

    @property
    def own_shards(self) -> frozenset[int]:
        """Return the shards of the users whose workflows this process discovers, which are assigned like feeds."""
        return frozenset(shard for shard in ALL_SHARDS if self._is_assigned(f"shard\0{shard}"))

    def _is_assigned(self, name: str) -> bool:
        """Return whether a name is assigned to this process.

        A process assigns none of its feeds to a process that may not watch them, or cannot read them: nobody would poll
        them. It assigns feeds to itself even if it cannot read them, to find out when it can.
        """
        own_group = self.own_group
        ids = [
            member.id
            for member in self.members
            if member.feed_group == own_group and (member.id == self.own_id or not member.cannot_read)
        ]
        if ids == [self.own_id]:
            return True
        return bool(ids) and rendezvous(name, ids) == self.own_id

    @property
    def own_name(self) -> str:
        """Return the name of this process, or "this process" if it is no member."""
        return next((each.name for each in self.members if each.id == self.own_id), "this process")

    @property
    def others(self) -> tuple[FleetMember, ...]:
        """Return the other processes with the same feeds to watch."""
        own_group = self.own_group
        return tuple(each for each in self.members if each.id != self.own_id and each.feed_group == own_group)

    @property
    def cannot_read(self) -> bool:
        """Return whether this process has handed its feeds over, because it cannot read the logs API."""
        return any(each.cannot_read for each in self.members if each.id == self.own_id)

    @property
    def own_group(self) -> str:
        """Return the feed group of this process."""
        return next((each.feed_group for each in self.members if each.id == self.own_id), "")

    @property
    def is_shared(self) -> bool:
        """Return whether several processes can use the ledger."""
        return self is not ONE_PROCESS

    @property
    def feed_groups(self) -> tuple[tuple[FleetMember, ...], ...]:
        """Return the processes with equal settings of the feeds to watch, the largest group first.

        A process of an older version has no group, and is left out.
        """
        groups: dict[str, list[FleetMember]] = {}
        for each in self.members:
            if each.feed_group:
                groups.setdefault(each.feed_group, []).append(each)
        return tuple(tuple(each) for each in sorted(groups.values(), key=len, reverse=True))

    @property
    def size(self) -> int:
        return max(1, len(self.members))


ONE_PROCESS = Fleet((FleetMember("local", ""),), "local")
"""The fleet of a ledger that only one process can use."""


@lru_cache(maxsize=1 << 17)
def shard_of(user_id: str | None) -> int:
    """Return the shard of a user's feeds, or that of the feeds without a user."""
    digest = blake2b((user_id or "").encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) % len(ALL_SHARDS)


def rendezvous(name: str, members: Iterable[str]) -> str:
    """Return the member that a name is assigned to: the one with the highest hash of both.

    When a member leaves, only its names move; see Thaler and Ravishankar, "Using name-based mappings to increase hit
    rates" (1998).
    """
    return max(members, key=lambda member: blake2b(f"{member}\0{name}".encode(errors="surrogatepass")).digest())
