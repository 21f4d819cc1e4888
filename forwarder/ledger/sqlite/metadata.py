"""The named values of a ledger, such as the switch, the daemon's status and the settlement number."""

from datetime import datetime
from sqlite3 import Connection
from typing import Any

import msgspec

from forwarder.ledger.codec import from_micros, to_micros
from forwarder.ledger.models import DaemonStatus
from forwarder.ledger.retention_gap import RetentionGap

_statuses = msgspec.json.Decoder(DaemonStatus)
_gaps = msgspec.json.Decoder(RetentionGap)

BUS_PREFIX = "bus:"
"""The start of the names under which the last verification of each bus is stored, as a settlement number."""


def enabled(db: Connection) -> bool | None:
    """Return the last saved value of the switch, or None if no value was saved."""
    value = _get(db, "enabled")
    return None if value is None else bool(value)


def save_enabled(db: Connection, value: bool) -> None:
    _set(db, "enabled", int(value))


def daemon_status(db: Connection) -> DaemonStatus | None:
    """Return the last status that a daemon saved, or None if no status was saved."""
    value = _get(db, "daemon_status")
    return None if value is None else _statuses.decode(value)


def save_daemon_status(db: Connection, status: DaemonStatus) -> None:
    _set(db, "daemon_status", msgspec.json.encode(status))


def retention_gap(db: Connection) -> RetentionGap | None:
    """Return the saved retention gap, or None if none was saved."""
    value = _get(db, "retention_gap")
    return None if value is None else _gaps.decode(value)


def save_retention_gap(db: Connection, gap: RetentionGap) -> None:
    _set(db, "retention_gap", msgspec.json.encode(gap))


def discovered_at(db: Connection) -> datetime | None:
    """Return when the last complete discovery began, or None before the first."""
    value = _get(db, "discovered_at")
    return None if value is None else from_micros(value)


def save_discovered_at(db: Connection, at: datetime) -> None:
    _set(db, "discovered_at", to_micros(at))


def forgotten_floor(db: Connection) -> datetime | None:
    """Return the latest stop of a forgotten id: an execution that stopped until then must not be recorded as new."""
    value = _get(db, "forgotten_floor")
    return None if value is None else from_micros(value)


def raise_forgotten_floor(db: Connection, floor: datetime) -> None:
    """Save the floor unless a later one is stored."""
    before = forgotten_floor(db)
    _set(db, "forgotten_floor", to_micros(floor if before is None else max(before, floor)))


def last_settlement_seq(db: Connection) -> int:
    """Return the number of the last settlement, or 0 before the first."""
    return int(_get(db, "settlement_seq") or 0)


def next_settlement_seq(db: Connection) -> int:
    """Return the number of the settlement that this transaction commits."""
    db.execute("INSERT INTO metadata VALUES ('settlement_seq', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1")
    return last_settlement_seq(db)


def verified_seq(db: Connection, bus: str) -> int | None:
    """Return the last settlement before the last verification of the bus, or None without a verification."""
    value = _get(db, BUS_PREFIX + bus)
    return None if value is None else int(value)


def save_verified_seq(db: Connection, bus: str, seq: int) -> None:
    """Save the verification unless a later one is stored."""
    _set(db, BUS_PREFIX + bus, max(seq, verified_seq(db, bus) or 0))


def verified_seqs(db: Connection) -> dict[str, int]:
    """Return for each verified bus the last settlement before its last verification."""
    rows = db.execute("SELECT name, value FROM metadata WHERE substr(name, 1, ?) = ?", (len(BUS_PREFIX), BUS_PREFIX))
    return {name.removeprefix(BUS_PREFIX): int(value) for name, value in rows}


def _get(db: Connection, name: str) -> Any:
    row = db.execute("SELECT value FROM metadata WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def _set(db: Connection, name: str, value: bytes | int) -> None:
    db.execute("INSERT OR REPLACE INTO metadata VALUES (?, ?)", (name, value))


def is_valid(name: object, value: object) -> bool:
    """Return whether this module can have written the row. Other rows are not considered."""
    try:
        match name, value:
            case "enabled" | "settlement_seq", int():
                return value >= 0
            case "discovered_at" | "forgotten_floor", int():
                return from_micros(value) is not None
            case "daemon_status" | "retention_gap", bytes():
                return (_statuses if name == "daemon_status" else _gaps).decode(value) is not None
            case str(), int() if name.startswith(BUS_PREFIX):
                return value >= 0
            case _:
                return False
    except (ValueError, OverflowError, msgspec.MsgspecError):
        return False
