"""What the daemon remembers of itself, a few small values by name."""

from datetime import datetime
from sqlite3 import Connection
from typing import Any

import msgspec

from forwarder.ledger.codec import instant, micros
from forwarder.ledger.nouns import Pulse

_pulses = msgspec.json.Decoder(Pulse)

BUS = "bus:"
"""What the names of the notes of each bus begin with. Their value is the last settle before it was seen."""


def enabled(db: Connection) -> bool | None:
    """How the switch stood last."""
    value = _get(db, "enabled")
    return None if value is None else bool(value)


def note_enabled(db: Connection, value: bool) -> None:
    _set(db, "enabled", int(value))


def pulse(db: Connection) -> Pulse | None:
    value = _get(db, "pulse")
    return None if value is None else _pulses.decode(value)


def note_pulse(db: Connection, value: Pulse) -> None:
    _set(db, "pulse", msgspec.json.encode(value))


def asked_at(db: Connection) -> datetime | None:
    """When the daemon was asked last how it does."""
    value = _get(db, "asked_at")
    return None if value is None else instant(value)


def note_asked(db: Connection, at: datetime) -> None:
    _set(db, "asked_at", micros(at))


def discovered_at(db: Connection) -> datetime | None:
    value = _get(db, "discovered_at")
    return None if value is None else instant(value)


def note_discovery(db: Connection, at: datetime) -> None:
    _set(db, "discovered_at", micros(at))


def forgotten_floor(db: Connection) -> datetime | None:
    """The last stop of an id that was forgotten: what stopped until then is not to be recorded as new."""
    value = _get(db, "forgotten_floor")
    return None if value is None else instant(value)


def note_forgotten_floor(db: Connection, floor: datetime) -> None:
    before = forgotten_floor(db)
    _set(db, "forgotten_floor", micros(floor if before is None else max(before, floor)))


def last_settle(db: Connection) -> int:
    return int(_get(db, "settles") or 0)


def next_settle(db: Connection) -> int:
    db.execute("INSERT INTO notes VALUES ('settles', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1")
    return last_settle(db)


def bus_seen(db: Connection, name: str) -> int | None:
    """The last settle before a bus was last known to exist, if that is known of this one."""
    value = _get(db, BUS + name)
    return None if value is None else int(value)


def note_bus(db: Connection, name: str, settle: int) -> None:
    """A sight that is noted late takes nothing back that a later one told."""
    _set(db, BUS + name, max(settle, bus_seen(db, name) or 0))


def buses_seen(db: Connection) -> dict[str, int]:
    """Every bus that was seen, and the last settle before that."""
    rows = db.execute("SELECT name, value FROM notes WHERE substr(name, 1, ?) = ?", (len(BUS), BUS))
    return {name.removeprefix(BUS): int(value) for name, value in rows}


def _get(db: Connection, name: str) -> Any:
    row = db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def _set(db: Connection, name: str, value: bytes | int) -> None:
    db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))


def is_sound(name: object, value: object) -> bool:
    """Whether it is a note of ours, as far as one alone can tell."""
    try:
        match name, value:
            case "enabled" | "settles", int():
                return value >= 0
            case "discovered_at" | "forgotten_floor" | "asked_at", int():
                return instant(value) is not None
            case "pulse", bytes():
                return _pulses.decode(value) is not None
            case str(), int() if name.startswith(BUS):
                return value >= 0
            case _:
                return False
    except (ValueError, OverflowError, msgspec.MsgspecError):
        return False
