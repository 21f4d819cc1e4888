"""Whether a row of a damaged ledger can be one of ours: a page may stand in another table's place."""

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from forwarder.ledger.codec import checkpoint_of, digest, micros
from forwarder.ledger.owing import history_of
from forwarder.ledger.schema import DEAD, OWED, SENT

_TYPES = {"INTEGER": int, "TEXT": str, "BLOB": bytes}

LAST_MICROS = micros(datetime(9000, 1, 1, tzinfo=UTC))
_SECONDS = range(LAST_MICROS // 1_000_000)
_HOURS = range(len(_SECONDS) // 3600)


class Rules:
    """Of one table, as the fresh ledger declares it."""

    def __init__(self, db: sqlite3.Connection, table: str) -> None:
        self._table = table
        info = db.execute(f"PRAGMA table_info({table})").fetchall()
        self.columns = [name for _, name, *_ in info]
        self.key = next((name for _, name, *_, key in info if key), "")
        self._kinds = [(_TYPES[kind], not required and not key) for _, _, kind, required, _, key in info]

    def admit(self, row: tuple[Any, ...]) -> bool:
        fits = all(
            isinstance(value, kind) or (value is None and may_be_none)
            for value, (kind, may_be_none) in zip(row, self._kinds, strict=True)
        )
        return fits and _is_possible(self._table, dict(zip(self.columns, row, strict=True)))


def _is_possible(table: str, row: Mapping[str, Any]) -> bool:
    try:
        match table:
            case "feeds":
                checkpoint_of((row["watermark"], row["floor"], row["since"], row["deep_at"], row["open"]))
                return _are_times(row["read_at"])
            case "executions":
                return row["stopped"] in _SECONDS and row["recorded"] in _HOURS
            case "entries":
                history_of(row["history"])
                return (
                    row["state"] in (OWED, SENT, DEAD)
                    and row["key"] == digest(row["execution_id"])[0]
                    and _are_times(row["time"], row["recorded_at"], row["due_at"], row["settled_at"])
                    and (row["settled_at"] is not None or row["state"] == OWED)
                )
            case _:
                return True
    except (ValueError, OverflowError, msgspec.MsgspecError):
        return False


def _are_times(*micros_since_epoch: int | None) -> bool:
    return all(micros is None or -LAST_MICROS < micros < LAST_MICROS for micros in micros_since_epoch)
