"""The only state: what was seen, is owed, was sent, and died. `open_ledger` finds the kind that the settings name."""

from pathlib import Path

from forwarder.ledger.contract import Ledger
from forwarder.ledger.lock import RunningLock, is_running, require_ledger, require_writable
from forwarder.ledger.nouns import (
    UNDECODABLE,
    Books,
    Dead,
    DeadLetter,
    FeedStatus,
    Held,
    Lag,
    Minute,
    Postponed,
    Pulse,
    Reading,
    Replayable,
    Sent,
    Settlement,
    Traffic,
    Window,
)
from forwarder.ledger.sqlite import SqliteLedger
from forwarder.settings import LocalSettings, Place

__all__ = [
    "UNDECODABLE",
    "Books",
    "Dead",
    "DeadLetter",
    "FeedStatus",
    "Held",
    "Lag",
    "Ledger",
    "Minute",
    "Postponed",
    "Pulse",
    "Reading",
    "Replayable",
    "RunningLock",
    "Sent",
    "Settlement",
    "SqliteLedger",
    "Traffic",
    "Window",
    "is_running",
    "ledger_file",
    "open_ledger",
    "require_ledger",
    "require_writable",
]


def ledger_file(place: Place, settings: LocalSettings) -> Path:
    return place.path(settings.ledger.url.removeprefix("sqlite:///"))


def open_ledger(
    place: Place, settings: LocalSettings, *, create: bool = False, lock: RunningLock | None = None
) -> SqliteLedger:
    """`lock` is given by the process that runs on the ledger; it keeps the lock as long as the ledger is open."""
    return SqliteLedger(ledger_file(place, settings), create=create, lock=lock)
