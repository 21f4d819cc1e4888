"""What the daemon remembers of itself, a few small values by name."""

from datetime import datetime
from sqlite3 import Connection
from typing import Any

import msgspec

from forwarder.ledger.models import DaemonStatus
from forwarder.ledger.sqlite.codec import from_micros, to_micros

_daemon_statuses = msgspec.json.Decoder(DaemonStatus)

BUS_PREFIX = "bus:"
"""Prefix of the name of a bus. The value is the last settlement_seq before the bus was verified."""


def enabled(db: Connection) -> bool | None:
    """How the switch stood last."""
    value = _get(db, "enabled")
    return None if value is None else bool(value)


def save_enabled(db: Connection, value: bool) -> None:
    _set(db, "enabled", int(value))


def daemon_status(db: Connection) -> DaemonStatus | None:
    value = _get(db, "daemon_status")
    return None if value is None else _daemon_statuses.decode(value)


def save_daemon_status(db: Connection, value: DaemonStatus) -> None:
    _set(db, "daemon_status", msgspec.json.encode(value))


def status_requested_at(db: Connection) -> datetime | None:
    """When the daemon was asked last how it does."""
    value = _get(db, "status_requested_at")
    return None if value is None else from_micros(value)


def save_status_request(db: Connection, at: datetime) -> None:
    _set(db, "status_requested_at", to_micros(at))


def discovered_at(db: Connection) -> datetime | None:
    value = _get(db, "discovered_at")
    return None if value is None else from_micros(value)


def save_discovered_at(db: Connection, at: datetime) -> None:
    _set(db, "discovered_at", to_micros(at))


def forgotten_floor(db: Connection) -> datetime | None:
    """The last stop of an id that was forgotten: what stopped until then is not to be recorded as new."""
    value = _get(db, "forgotten_floor")
    return None if value is None else from_micros(value)


def save_forgotten_floor(db: Connection, floor: datetime) -> None:
    before = forgotten_floor(db)
    _set(db, "forgotten_floor", to_micros(floor if before is None else max(before, floor)))


def last_settlement_seq(db: Connection) -> int:
    return int(_get(db, "settlement_seq") or 0)


def next_settlement_seq(db: Connection) -> int:
    db.execute("INSERT INTO metadata VALUES ('settlement_seq', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1")
    return last_settlement_seq(db)


def bus_verified_seq(db: Connection, name: str) -> int | None:
    """The last settlement_seq before a bus was last verified, if that is known of this one."""
    value = _get(db, BUS_PREFIX + name)
    return None if value is None else int(value)


def save_bus_verified(db: Connection, name: str, settlement_seq: int) -> None:
    """A sight that is noted late takes nothing back that a later one told."""
    _set(db, BUS_PREFIX + name, max(settlement_seq, bus_verified_seq(db, name) or 0))


def verified_seq_by_bus(db: Connection) -> dict[str, int]:
    """Every bus that was verified, and the last settlement_seq before that."""
    rows = db.execute("SELECT name, value FROM metadata WHERE substr(name, 1, ?) = ?", (len(BUS_PREFIX), BUS_PREFIX))
    return {name.removeprefix(BUS_PREFIX): int(value) for name, value in rows}


def _get(db: Connection, name: str) -> Any:
    row = db.execute("SELECT value FROM metadata WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def _set(db: Connection, name: str, value: bytes | int) -> None:
    db.execute("INSERT OR REPLACE INTO metadata VALUES (?, ?)", (name, value))


def is_valid(name: object, value: object) -> bool:
    """Whether it is metadata of ours, as far as one alone can tell."""
    try:
        match name, value:
            case "enabled" | "settlement_seq", int():
                return value >= 0
            case "discovered_at" | "forgotten_floor" | "status_requested_at", int():
                return from_micros(value) is not None
            case "daemon_status", bytes():
                return _daemon_statuses.decode(value) is not None
            case str(), int() if name.startswith(BUS_PREFIX):
                return value >= 0
            case _:
                return False
    except (ValueError, OverflowError, msgspec.MsgspecError):
        return False
