"""The ledger: the only persistent state. It holds feeds, pending entries, sent entries and dead letters.

`open_ledger` opens the store that the settings name.
"""

from pathlib import Path

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
from forwarder.ledger.protocol import Ledger
from forwarder.ledger.sqlite import SqliteLedger
from forwarder.ledger.sqlite.lock import (
    RunningLock,
    is_running,
    lock_file,
    require_folder,
    require_ledger,
    require_writable,
    was_created,
)
from forwarder.settings import ConfigSource, LocalSettings

__all__ = [
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
    "Lag",
    "Ledger",
    "MinuteCounts",
    "PollResult",
    "Postponed",
    "ReplayCounts",
    "RunningLock",
    "Sent",
    "Settlement",
    "SqliteLedger",
    "StoredEntry",
    "TimeWindow",
    "Traffic",
    "is_running",
    "is_unused",
    "ledger_file",
    "lock_file",
    "open_ledger",
    "require_folder",
    "require_ledger",
    "require_writable",
]


def ledger_file(config_source: ConfigSource, settings: LocalSettings) -> Path:
    """Return the path of the ledger that `ledger.url` names."""
    return config_source.path(settings.ledger.url.removeprefix("sqlite:///"))


def open_ledger(
    config_source: ConfigSource, settings: LocalSettings, *, create: bool = False, lock: RunningLock | None = None
) -> SqliteLedger:
    """Return the ledger of the settings, not yet open.

    A process that runs the loops passes its `lock`, and has to hold it while the ledger is open. A command passes none.
    """
    return SqliteLedger(ledger_file(config_source, settings), create=create, lock=lock)


async def is_unused(config_source: ConfigSource, settings: LocalSettings) -> bool:
    """Return whether the ledger does not exist yet, or has never had a feed. Nothing is created.

    Raise LedgerError if it was lost, or cannot be read.
    """
    file = ledger_file(config_source, settings)
    require_ledger(file)
    if not file.exists() or was_created(file) is False:
        return True
    async with open_ledger(config_source, settings) as ledger:
        return not await ledger.feeds() and not (await ledger.counters()).recorded
