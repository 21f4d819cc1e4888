"""The operations of a ledger, whatever stores it. The contract tests in `tests/ledger/contract.py` define them as well.

An executionId is recorded once. Its entry is then in exactly one state: pending → sent | dead, dead → pending (retry),
sent → pending (replay, requeue), dead → purged, and sent | purged → forgotten. So this holds at each commit:
recorded = pending + sent + dead + purged + forgotten.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from forwarder.ledger.models import (
    Counters,
    DaemonStatus,
    DeadLetter,
    FeedStatus,
    PollResult,
    ReplayCounts,
    Settlement,
    StoredEntry,
    TimeWindow,
    Traffic,
)
from forwarder.model import Checkpoint, ClaimedEntry, Entry, Feed, Token


class Ledger(Protocol):
    """A store of the ledger's state.

    All operations raise LedgerError if the store cannot be read or written. A write is durable when it returns.
    """

    async def add_feeds(self, new: Mapping[Feed, Checkpoint], *, discovered_at: datetime | None = None) -> None:
        """Add feeds with their first checkpoints, and save when they were discovered. Known feeds are unchanged.

        A floor is raised to the latest stop that retention has forgotten.
        """

    async def discovered_at(self) -> datetime | None:
        """Return when the last complete discovery began, or None before the first."""

    async def checkpoint(self, feed: Feed) -> Checkpoint:
        """Return the checkpoint of a feed. Raise LedgerError if it was never added."""

    async def feeds(self) -> list[FeedStatus]:
        """Return all feeds that were ever added, ordered by workflow and user."""

    async def known_ids(self, execution_ids: Collection[str]) -> set[str]:
        """Return the ids that are recorded and not forgotten."""

    async def record(
        self, feed: Feed, entries: Sequence[Entry], *, now: datetime, checkpoint: Checkpoint | None = None
    ) -> int:
        """Record entries as pending, except those with known ids, and save the checkpoint. Return how many are new.

        The checkpoint is never durable before the entries, and may become durable later. If this raises, some entries
        may be recorded; they are delivered, and recording them again changes nothing.
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

    async def next_due(self) -> datetime | None:
        """Return when the earliest pending entry that this process may claim is due, or None without such an entry."""

    async def settle(self, settlements: Sequence[Settlement], *, now: datetime, bus: str = "") -> int:
        """Settle claimed entries with what `bus` answered, and return the number of this settlement.

        The number orders the settlements of one recorder, the process that settles; others have their own. Settling an
        entry that is not pending changes nothing. A postponement without an unclassified attempt need not be durable.
        """

    async def last_settlement_seq(self) -> int:
        """Return the number of this recorder's last settlement, or 0 before the first."""

    async def save_bus_verified(self, name: str, seq: int) -> None:
        """Save that a bus was verified to exist after settlement `seq`. An earlier verification changes nothing."""

    async def unverified_buses(self) -> list[str]:
        """Return the buses that accepted entries after they were last verified."""

    async def requeue(self, bus: str, *, now: datetime) -> int:
        """Make entries pending again that a missing bus accepted since it was last verified. Return how many."""

    async def oldest_pending(self) -> datetime | None:
        """Return when the oldest pending entry was recorded, or None if no entry is pending."""

    async def counters(self) -> Counters:
        """Return how many executions were recorded, and what became of them."""

    async def audit(self) -> Counters:
        """Count the stored rows. Raise LedgerError if the counters differ from them, or if the store is damaged."""

    async def dead_letters(self) -> list[DeadLetter]:
        """Return all dead letters, the oldest first."""

    async def dead_letter(self, execution_id: str) -> DeadLetter | None:
        """Return the dead letter of an execution, or None if it has none."""

    async def retry_dead_letters(self, execution_ids: Collection[str] | None, *, now: datetime) -> int:
        """Make these dead letters pending again, or all of them if None. Return how many."""

    async def purge_dead_letters(self, execution_ids: Collection[str] | None) -> int:
        """Delete these dead letters but keep their ids, or all of them if None. Return how many."""

    async def replay_counts(self, window: TimeWindow) -> ReplayCounts:
        """Return how many sent events of a window can be replayed."""

    async def replay(self, window: TimeWindow, *, now: datetime) -> int:
        """Make the sent entries of a window pending again, marked as replays. Return how many."""

    async def pending_replays(self) -> int:
        """Return how many pending entries are replays."""

    async def latest_entries(self, limit: int, *, dead: bool = False) -> list[StoredEntry]:
        """Return the entries that were recorded last, or the dead letters that died last, the newest first."""

    async def stored_entry(self, execution_id: str) -> StoredEntry | None:
        """Return the entry of an execution, or None if its payload is not stored."""

    async def traffic(self, *, now: datetime) -> Traffic:
        """Return the counts of each minute of the last day. They may miss what was counted just before a crash."""

    async def apply_retention(self, *, now: datetime, id_retention: timedelta, payload_retention: timedelta) -> bool:
        """Delete a few payloads and ids that are old enough. Return whether there may be more.

        Floors rise to the stop of each forgotten id, so that an old failure is never recorded again.
        """

    async def save_switch(self, *, enabled: bool, skip: bool, now: datetime) -> bool | None:
        """Save the switch, and return its previous value, or None if it was never saved.

        If it was off and is on now, `skip` makes `now` the local floor of every feed.
        """

    async def saved_switch(self) -> bool | None:
        """Return the switch as it was saved last, or None if it never was."""

    async def save_daemon_status(self, status: DaemonStatus, poll_results: Mapping[Feed, PollResult]) -> None:
        """Save the status of this daemon and the latest polls, for commands that display them."""

    async def daemon_status(self) -> DaemonStatus | None:
        """Return the status that a daemon saved last, or None if none ever did."""
