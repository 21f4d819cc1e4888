"""Validation of the rows of a damaged ledger: a damaged page may hold the rows of another table."""

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from forwarder.ledger import attempts
from forwarder.ledger.codec import decode_checkpoint, digest, to_micros
from forwarder.ledger.sqlite.migrations import DEAD, PENDING, SENT

_TYPES = {"INTEGER": int, "REAL": float, "TEXT": str, "BLOB": bytes}

MAX_MICROSECONDS = to_micros(datetime(9000, 1, 1, tzinfo=UTC))
_SECONDS = range(MAX_MICROSECONDS // 1_000_000)
_HOURS = range(len(_SECONDS) // 3600)


class TableRules:
    """The columns of one table, their types, and the values that the ledger writes into them."""

    def __init__(self, db: sqlite3.Connection, table: str) -> None:
        """Read the columns of a table from `db`, an undamaged ledger."""
        self._table = table
        info = db.execute(f"PRAGMA table_info({table})").fetchall()
        self.columns = [name for _, name, *_ in info]
        self.key = next((name for _, name, *_, key in info if key), "")
        self._types = [(_TYPES[kind], not required and not key) for _, _, kind, required, _, key in info]

    def is_valid(self, row: tuple[Any, ...]) -> bool:
        """Return whether the ledger can have written the row."""
        fits = all(
            isinstance(value, type_) or (value is None and may_be_null)
            for value, (type_, may_be_null) in zip(row, self._types, strict=True)
        )
        return fits and _is_possible(self._table, dict(zip(self.columns, row, strict=True)))


def _is_possible(table: str, row: Mapping[str, Any]) -> bool:
    try:
        match table:
            case "feeds":
                names = ("watermark", "floor", "local_floor", "full_scan_at", "open_executions", "activity")
                watermark, floor, local_floor, full_scan_at, open_executions, activity = (row[name] for name in names)
                decode_checkpoint((watermark, floor, local_floor, full_scan_at, open_executions, activity))
                return _are_times(row["polled_at"])
            case "executions":
                return row["stopped"] in _SECONDS and row["recorded"] in _HOURS
            case "entries":
                attempts.decode(row["history"])
                return (
                    row["state"] in (PENDING, SENT, DEAD)
                    and row["key"] == digest(row["execution_id"])[0]
                    and _are_times(row["time"], row["recorded_at"], row["due_at"], row["settled_at"])
                    and (row["settled_at"] is not None or row["state"] == PENDING)
                )
            case _:
                return True
    except (ValueError, OverflowError, msgspec.MsgspecError):
        return False


def _are_times(*micros_since_epoch: int | None) -> bool:
    return all(micros is None or -MAX_MICROSECONDS < micros < MAX_MICROSECONDS for micros in micros_since_epoch)
