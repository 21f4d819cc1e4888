"""What the loops and the commands may ask of a ledger, whatever keeps it.

An executionId is recorded once, ever, and is then in exactly one state: pending → sent | dead, dead → pending (retry),
dead → purged, and sent | purged → forgotten. So the counters balance at any commit:
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
from forwarder.model import Checkpoint, ClaimedEntry, Entry, Feed


class Ledger(Protocol):
    """Every method commits before it returns, and raises LedgerError where it could not."""

    async def checkpoint(self, feed: Feed) -> Checkpoint:
        """Of a feed that was begun."""

    async def add_feeds(self, checkpoints: Mapping[Feed, Checkpoint], *, discovered_at: datetime | None = None) -> None:
        """Keep where feeds begin that have no checkpoint yet; and, in the same commit, when they were discovered."""

    async def discovered_at(self) -> datetime | None:
        """When the last complete discovery began."""

    async def known_ids(self, execution_ids: Collection[str]) -> set[str]:
        """Those of the ids that are recorded already."""

    async def record(
        self, feed: Feed, entries: Sequence[Entry], *, now: datetime, checkpoint: Checkpoint | None = None
    ) -> int:
        """Add new entries as pending and save the checkpoint, in one commit. Return how many are new."""

    async def claim(self, limit: int, *, now: datetime) -> list[ClaimedEntry]:
        """Return due pending entries, oldest first. None is returned again before it is settled or released."""

    def release(self, tokens: Collection[int]) -> None:
        """Release entries that were claimed and not sent: they are pending as before."""

    async def next_due(self) -> datetime | None:
        """Return when the first unclaimed entry is due, or None if nothing is pending."""

    async def settle(self, settlements: Sequence[Settlement], *, now: datetime, bus: str = "") -> int:
        """Save the results of claimed entries in one commit. Return its settlement_seq.

        Settling an entry again changes nothing.
        """

    async def last_settlement_seq(self) -> int:
        """The number of the last settlement: an order that no clock disturbs."""

    async def save_bus_verified(self, name: str, settlement_seq: int) -> None:
        """Save that a bus was verified when this was the last settlement."""

    async def unverified_buses(self) -> list[str]:
        """Return the buses that were not verified since they last accepted something."""

    async def requeue(self, bus: str, *, now: datetime) -> int:
        """Make pending again what a bus accepted since it was last verified. Return how many."""

    async def counters(self) -> Counters: ...

    async def oldest_pending(self) -> datetime | None:
        """Return when the oldest pending entry was recorded."""

    async def audit(self) -> Counters:
        """Count the rows again, and return the counters. Raise LedgerError if the stored ones differ."""

    async def find_feed(self, execution_id: str) -> Feed | None:
        """Where an execution was recorded."""

    async def dead_letters(self) -> list[DeadLetter]: ...

    async def dead_letter(self, execution_id: str) -> DeadLetter | None: ...

    async def retry_dead_letters(self, execution_ids: Collection[str] | None, *, now: datetime) -> int:
        """Make these dead letters pending again, or all of them. Return how many."""

    async def purge_dead_letters(self, execution_ids: Collection[str] | None) -> int:
        """Drop dead letters, or all of them, keeping their ids; how many."""

    async def replay_counts(self, window: TimeWindow) -> ReplayCounts: ...

    async def replay(self, window: TimeWindow, *, now: datetime) -> int:
        """Make sent entries of a window pending again, marked as a replay. Return how many."""

    async def pending_replays(self) -> int: ...

    async def latest_entries(self, limit: int, *, dead: bool = False) -> list[StoredEntry]:
        """What was recorded last, or what died last; newest first."""

    async def stored_entry(self, execution_id: str) -> StoredEntry | None: ...

    async def traffic(self, *, now: datetime) -> Traffic: ...

    async def apply_retention(self, *, now: datetime, id_retention: timedelta, payload_retention: timedelta) -> bool:
        """Drop a small number of details and ids that are old enough; whether there may be more."""

    async def save_switch(self, *, enabled: bool, skip: bool, now: datetime) -> bool | None:
        """Remember the switch, and return what it was before. With `skip`, off → on begins every feed at `now`."""

    async def saved_switch(self) -> bool | None:
        """How the switch stood last."""

    async def feeds(self) -> list[FeedStatus]: ...

    async def save_daemon_status(self, daemon_status: DaemonStatus, polls: Mapping[Feed, PollResult]) -> None:
        """Save the status of the daemon, and the last poll of each feed."""

    async def daemon_status(self) -> DaemonStatus | None: ...

    async def request_status(self, *, now: datetime) -> None:
        """Request a fresh status from the daemon."""

    async def status_requested_at(self) -> datetime | None:
        """Return when a status was requested last."""
