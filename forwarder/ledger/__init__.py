"""The only state: what was seen, is owed, was sent, and died. `open_ledger` finds the kind that the settings name."""

from pathlib import Path

from forwarder.ledger.models import (
    UNDECODABLE,
    Counters,
    DaemonStatus,
    Dead,
    DeadLetter,
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
from forwarder.ledger.sqlite.lock import RunningLock, is_running, require_ledger, require_writable
from forwarder.settings import ConfigSource, LocalSettings

__all__ = [
    "UNDECODABLE",
    "Counters",
    "DaemonStatus",
    "Dead",
    "DeadLetter",
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
    "ledger_file",
    "open_ledger",
    "require_ledger",
    "require_writable",
]


def ledger_file(config_source: ConfigSource, settings: LocalSettings) -> Path:
    return config_source.path(settings.ledger.url.removeprefix("sqlite:///"))


def open_ledger(
    config_source: ConfigSource, settings: LocalSettings, *, create: bool = False, lock: RunningLock | None = None
) -> SqliteLedger:
    """`lock` is given by the process that runs on the ledger; it keeps the lock as long as the ledger is open."""
    return SqliteLedger(ledger_file(config_source, settings), create=create, lock=lock)
