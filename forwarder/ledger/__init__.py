"""The ledger: the only persistent state. It holds feeds, pending entries, sent entries and dead letters.

`open_ledger` opens the store that the settings name.
"""

from contextlib import AbstractAsyncContextManager

from forwarder.ledger.fleet import ALL_SHARDS, ONE_PROCESS, Fleet, FleetMember, shard_of
from forwarder.ledger.models import (
    UNDECODABLE,
    Activity,
    Counters,
    DaemonStatus,
    Dead,
    DeadLetter,
    EntryFilter,
    EntryPage,
    EntryState,
    FeedStatus,
    Lag,
    MinuteCounts,
    PollResult,
    Postponed,
    ReplayCounts,
    Sent,
    Settlement,
    StoredEntry,
    TimeWindow,
    Traffic,
)
from forwarder.ledger.place import LedgerPlace, create_ledger, ledger_file, ledger_place
from forwarder.ledger.protocol import Ledger
from forwarder.ledger.retention_gap import RetentionGap
from forwarder.ledger.sqlite import SqliteLedger
from forwarder.ledger.sqlite.lock import RunningLock
from forwarder.settings import ConfigSource, LocalSettings

__all__ = [
    "ALL_SHARDS",
    "ONE_PROCESS",
    "UNDECODABLE",
    "Activity",
    "Counters",
    "DaemonStatus",
    "Dead",
    "DeadLetter",
    "EntryFilter",
    "EntryPage",
    "EntryState",
    "FeedStatus",
    "Fleet",
    "FleetMember",
    "Lag",
    "Ledger",
    "LedgerPlace",
    "MinuteCounts",
    "PollResult",
    "Postponed",
    "ReplayCounts",
    "RetentionGap",
    "RunningLock",
    "Sent",
    "Settlement",
    "SqliteLedger",
    "StoredEntry",
    "TimeWindow",
    "Traffic",
    "create_ledger",
    "is_unused",
    "ledger_file",
    "ledger_place",
    "open_ledger",
    "shard_of",
]


def open_ledger(config_source: ConfigSource, settings: LocalSettings) -> AbstractAsyncContextManager[Ledger]:
    """Return the ledger of the settings for a command, not yet open."""
    return ledger_place(config_source, settings).open()


async def is_unused(config_source: ConfigSource, settings: LocalSettings) -> bool:
    """Return whether the ledger does not exist yet, or has never had a feed. Nothing is created.

    Raise LedgerError if it was lost, or cannot be read.
    """
    place = ledger_place(config_source, settings)
    if not place.exists() or not place.is_complete():
        return True
    async with place.open() as ledger:
        return not await ledger.feeds() and not (await ledger.counters()).recorded
