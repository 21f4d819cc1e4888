"""What the daemon remembers of itself: the switch, and the word it leaves for `status`."""

from collections.abc import Mapping
from datetime import datetime
from sqlite3 import Connection

import msgspec

from forwarder.ledger import recording
from forwarder.ledger.contract import Pulse, Reading
from forwarder.model import Feed

_pulses = msgspec.json.Decoder(Pulse)


def switch(db: Connection, enabled: bool, skip: bool, now: datetime) -> bool | None:
    row = db.execute("SELECT value FROM notes WHERE name = 'enabled'").fetchone()
    before = None if row is None else bool(row[0])
    if before is not enabled:
        db.execute("INSERT OR REPLACE INTO notes VALUES ('enabled', ?)", (enabled,))
    if enabled and before is False and skip:
        recording.begin_all(db, now)
    return before


def note(db: Connection, pulse: Pulse, readings: Mapping[Feed, Reading]) -> None:
    db.execute("INSERT OR REPLACE INTO notes VALUES ('pulse', ?)", (msgspec.json.encode(pulse),))
    recording.note_readings(db, readings)


def pulse(db: Connection) -> Pulse | None:
    row = db.execute("SELECT value FROM notes WHERE name = 'pulse'").fetchone()
    return None if row is None else _pulses.decode(row[0])
