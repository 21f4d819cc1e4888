"""The operations that every ledger store provides. `tests/ledger/contract.py` tests them.

An executionId is recorded once. Its entry is then in exactly one state: pending → sent | dead, dead → pending (retry),
sent → pending (replay, requeue), dead → purged, and sent | purged → forgotten. At each commit,
recorded = pending + sent + dead + purged + forgotten.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from forwarder.ledger.fleet import ALL_SHARDS, Fleet
from forwarder.ledger.models import (
    Activity,
    Counters,
    DaemonStatus,
    DeadLetter,
    EntryFilter,
    EntryPage,
    FeedStatus,
    PollResult,
    ReplayCounts,
    Settlement,
    StoredEntry,
    TimeWindow,
    Traffic,
)
from forwarder.ledger.retention_gap import RetentionGap
from forwarder.model import Checkpoint, ClaimedEntry, Entry, Feed, Token


class Ledger(Protocol):
    """A store of the ledger's state. Several processes may share it; see `beat`.

    All operations raise LedgerError if the store cannot be read or written. A write is durable when it returns.
    """

    async def beat(self) -> Fleet:
        """Write a heartbeat for the other processes on this ledger, and return all processes that are alive.

        The daemon calls it every few seconds. The changes of other processes, and the entries of processes that have
        ended, are visible to this process after its next heartbeat. A store for one process returns this one.

        A silent process is taken over after a few heartbeats. A process that ends earlier leaves that to the others.
        """

    def set_feed_group(self, group: str) -> None:
        """Divide the feeds only among the processes of this group, from the next heartbeat on.

        A group is a digest of the settings that name the feeds to watch. Other groups may watch other feeds.
        """

    def set_cannot_read(self, *, cannot_read: bool) -> None:
        """Set from the next heartbeat on whether the others poll this process's feeds, because it cannot read them."""

    def give_up_feeds(self) -> None:
        """Leave all feeds to the other processes from the next heartbeat on. This one only delivers."""

    async def members(self) -> Fleet:
        """Return the processes that were alive at the last heartbeat."""

    async def keep_alive(self) -> None:
        """Write a heartbeat of a process that only waits for its last requests. The others poll its feeds from then on.

        It takes over nothing, and does not join again if it was taken over. The next `beat` ends this state.
        """

    async def leave(self) -> None:
        """Leave the processes that share the ledger. They take over the entries of this one at once.

        The next operation may join them again.
        """

    async def add_feeds(
        self,
        new: Mapping[Feed, Checkpoint],
        *,
        discovered_at: datetime | None = None,
        shards: Collection[int] = ALL_SHARDS,
    ) -> None:
        """Add feeds with their first checkpoints, and save when these shards of the users were discovered.

        Known feeds are unchanged. The floor of a new feed is at least the latest stop among the forgotten ids.
        """

    async def discovered_at(self, shard: int) -> datetime | None:
        """Return when the last complete discovery of a shard began, or None before the first."""

    async def checkpoint(self, feed: Feed) -> Checkpoint:
        """Return the checkpoint of a feed. Raise LedgerError if the feed was never added."""

    async def save_watched(self, feeds: Collection[Feed], shards: Collection[int] = ALL_SHARDS) -> None:
        """Save that these feeds are watched, and that the other feeds of these shards are not.

        Feeds that were never added are ignored. Unchanged flags are not written. Checkpoints stay.
        """

    async def feeds(self) -> list[FeedStatus]:
        """Return all feeds that were ever added, ordered by workflow and user."""

    async def known_ids(self, execution_ids: Collection[str]) -> set[str]:
        """Return the ids that are recorded and not forgotten."""

    async def record(
        self, feed: Feed, entries: Sequence[Entry], *, now: datetime, checkpoint: Checkpoint | None = None
    ) -> int:
        """Record entries as pending, except those with known ids, and save the checkpoint. Return how many are new.

        The checkpoint is never durable before the entries, and may become durable later. After an error, some entries
        may be recorded nevertheless. Recorded entries are delivered, and recording them again changes nothing.
        """

    async def find_feed(self, execution_id: str) -> Feed | None:
        """Return the feed in which an execution was recorded, or None if it is not known."""

    async def claim(self, limit: int, *, now: datetime) -> list[ClaimedEntry]:
        """Return pending entries that are due, the earliest first, and claim them.

        A claim belongs to this process, is not durable, and ends when the entry is settled or released. An entry whose
        detail cannot be read becomes a dead letter with the code UNDECODABLE.
        """

    def release(self, tokens: Collection[Token]) -> None:
        """End claims without settling: the entries are pending as before."""

    def owns(self, tokens: Collection[Token]) -> bool:
        """Return whether this process may publish claimed entries. Another one may have taken them over meanwhile."""

    async def next_due(self) -> datetime | None:
        """Return when the earliest pending entry that this process may claim is due, or None without such an entry."""

    async def settle(self, settlements: Sequence[Settlement], *, now: datetime, bus: str = "") -> int:
        """Save the settlements of claimed entries, and return the number of this settlement.

        `bus` is the name of the bus that returned the outcomes. A later settlement of this ledger never has a smaller
        number. Settling an entry that is not pending changes nothing. A postponement without an unclassified attempt
        need not be durable.
        """

    async def last_settlement_seq(self) -> int:
        """Return the number of the last settlement, or 0 before the first."""

    async def save_bus_verified(self, name: str, seq: int) -> None:
        """Save that a bus was verified to exist after settlement `seq`. Change nothing if a higher `seq` is saved."""

    @property
    def inherited_unverified(self) -> int:
        """Return the number of sent events that this process has taken over, whose bus was not verified since.

        It only rises while the process runs. It is 0 with a file.
        """

    async def unverified_buses(self) -> list[str]:
        """Return the buses that accepted entries after they were last verified."""

    async def requeue(self, bus: str, *, now: datetime) -> int:
        """Make entries pending again that a missing bus accepted since it was last verified. Return how many.

        They keep their send numbers, because their events never arrived.
        """

    async def oldest_pending(self) -> datetime | None:
        """Return when the oldest pending entry was recorded, or None if no entry is pending."""

    async def oldest_own_pending(self) -> datetime | None:
        """Return when the oldest pending entry was recorded, without those that other living processes send.

        Entries of a process that ended count, until another one has taken them over.
        """

    async def counters(self) -> Counters:
        """Return the stored counters of executions by state."""

    async def audit(self) -> Counters:
        """Count the stored rows. Raise LedgerError if the counters differ from them, or if the store is damaged."""

    async def dead_letters(self) -> list[DeadLetter]:
        """Return all dead letters, the oldest first."""

    async def dead_letter(self, execution_id: str) -> DeadLetter | None:
        """Return the dead letter of an execution, or None if it has none."""

    async def retry_dead_letters(self, execution_ids: Collection[str] | None, *, now: datetime) -> int:
        """Make the dead letters of these executions pending again, or all dead letters if None. Return how many.

        They keep their send numbers, because their events never arrived.
        """

    async def purge_dead_letters(self, execution_ids: Collection[str] | None) -> int:
        """Delete the dead letters of these executions, or all dead letters if None. Return how many.

        The ids stay recorded.
        """

    async def replay_counts(self, window: TimeWindow) -> ReplayCounts:
        """Return how many sent events of a window can be replayed, and how many others have no payload any more."""

    async def replay(self, window: TimeWindow, *, now: datetime) -> int:
        """Make the sent entries of a window pending again, with the next send number. Return how many."""

    async def replay_executions(self, execution_ids: Collection[str], *, now: datetime) -> int:
        """Make the sent entries of these executions pending again, with the next send number. Return how many."""

    async def pending_replays(self) -> int:
        """Return how many pending entries are replays."""

    async def entries(self, matching: EntryFilter, limit: int, *, before: str | None = None) -> EntryPage:
        """Return the latest recorded entries that match, newest first, at most `limit`. `before` is where a page ended.

        The work does not grow with the number of entries that do not match. Raise ValueError if `before` is not the
        `next` of a page.
        """

    async def activity(self, after: str | None, limit: int) -> Activity:
        """Return at most `limit` recorded entries and as many sent events after a position, oldest first.

        Without a position, begin with the oldest that are stored. Raise ValueError if `after` is not a position.
        """

    async def last_activity(self) -> str:
        """Return the position after all entries recorded and all events sent so far."""

    async def stored_entry(self, execution_id: str) -> StoredEntry | None:
        """Return the entry of an execution, or None if its payload is not stored."""

    async def traffic(self, *, now: datetime) -> Traffic:
        """Return the counts of each minute of the last day. Counts of the minute before a crash may be missing."""

    async def apply_retention(self, *, now: datetime, id_retention: timedelta, payload_retention: timedelta) -> bool:
        """Delete a few payloads and ids that are old enough. Return whether there may be more.

        Floors rise to the stop of each forgotten id, so that an old failure is never recorded again.
        """

    async def save_switch(self, *, enabled: bool, skip: bool, now: datetime) -> bool | None:
        """Save the switch in the settings of this process, and return its previous value.

        If this turns the switch on, `skip` makes `now` the local floor of every feed. Return None if the switch was
        never saved. A shared ledger saves nothing and returns None, because its switch is that of all processes.
        """

    async def save_fleet_switch(self, *, enabled: bool, skip: bool, now: datetime) -> bool | None:
        """Save the switch of all processes, and return its previous value, or None if the switch was never saved.

        Raise LedgerError if the ledger is not shared.

        If this turns the switch on, `skip` makes `now` the local floor of every feed.
        """

    async def saved_switch(self) -> bool | None:
        """Return the last saved value of the switch, or None if no value was saved.

        On a shared ledger, it is the switch of all processes.
        """

    async def save_daemon_status(self, status: DaemonStatus, poll_results: Mapping[Feed, PollResult]) -> None:
        """Save the status of this daemon and the latest polls, for commands that display them."""

    async def daemon_status(self) -> DaemonStatus | None:
        """Return the last status that a daemon saved, or None if no status was saved."""

    async def save_retention_gap(self, gap: RetentionGap) -> None:
        """Save the latest period whose executions may have been purged before they were read."""

    async def retention_gap(self) -> RetentionGap | None:
        """Return the saved period, or None if none was saved."""
