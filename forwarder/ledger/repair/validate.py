"""Whether a row of a damaged ledger can be one of ours: a page may stand in another table's place."""

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from forwarder.ledger.sqlite.codec import decode_checkpoint, digest, to_micros
from forwarder.ledger.sqlite.connection import DEAD, PENDING, SENT
from forwarder.ledger.sqlite.requeue import decode_history

_PYTHON_TYPES = {"INTEGER": int, "TEXT": str, "BLOB": bytes}

LAST_MICROS = to_micros(datetime(9000, 1, 1, tzinfo=UTC))
_SECONDS = range(LAST_MICROS // 1_000_000)
_HOURS = range(len(_SECONDS) // 3600)


class TableValidator:
    """Of one table, as the fresh ledger declares it."""

    def __init__(self, db: sqlite3.Connection, table: str) -> None:
        self._table = table
        info = db.execute(f"PRAGMA table_info({table})").fetchall()
        self.columns = [name for _, name, *_ in info]
        self.key = next((name for _, name, *_, key in info if key), "")
        self._types = [
            (_PYTHON_TYPES[expected_type], not required and not key) for _, _, expected_type, required, _, key in info
        ]

    def is_valid(self, row: tuple[Any, ...]) -> bool:
        fits = all(
            isinstance(value, expected_type) or (value is None and is_nullable)
            for value, (expected_type, is_nullable) in zip(row, self._types, strict=True)
        )
        return fits and _is_possible(self._table, dict(zip(self.columns, row, strict=True)))


def _is_possible(table: str, row: Mapping[str, Any]) -> bool:
    try:
        match table:
            case "feeds":
                decode_checkpoint(
                    (row["watermark"], row["floor"], row["local_floor"], row["full_scan_at"], row["open_executions"])
                )
                return _are_times(row["polled_at"])
            case "executions":
                return row["stopped"] in _SECONDS and row["recorded"] in _HOURS
            case "entries":
                decode_history(row["history"])
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


def _are_times(*epoch_micros: int | None) -> bool:
    return all(value is None or -LAST_MICROS < value < LAST_MICROS for value in epoch_micros)
