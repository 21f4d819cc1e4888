"""Reading a table around its damage: by key, since every table that can be large is in the order of one."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

# A key is a signed 64-bit number.
MIN_KEY, MAX_KEY = -(2**63), 2**63 - 1

ROWS_PER_READ = 500

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows that follow each other; `gap` is whether what came after them could not be read."""

    rows: Sequence[Row]
    gap: bool = False


def read_table(source: sqlite3.Connection, table: str, key: str, columns: Sequence[str]) -> Iterator[RowBatch]:
    """All that can be read of a table, in the order of its key."""
    return _TableReader(source, table, key, columns).batches()


class _TableReader:
    def __init__(self, source: sqlite3.Connection, table: str, key: str, columns: Sequence[str]) -> None:
        self._source = source
        self._select = f"SELECT {', '.join(columns)} FROM {table} WHERE {key} >= ? ORDER BY {key} LIMIT ?"  # noqa: S608  # names of ours
        self._key_index = columns.index(key)

    def batches(self) -> Iterator[RowBatch]:
        at: int | None = MIN_KEY
        while at is not None:
            try:
                rows = self._read(at, ROWS_PER_READ)
            except sqlite3.DatabaseError:
                rows = self._rows_before_damage(at)
                yield RowBatch(rows, gap=True)
                next_key = self._next_key(rows, at)
                at = None if next_key is None else self._key_after_damage(next_key)
            else:
                yield RowBatch(rows)
                at = self._next_key(rows, at) if len(rows) == ROWS_PER_READ else None

    def _read(self, at: int, limit: int) -> list[Row]:
        """Raises sqlite3.DatabaseError, also for rows out of order: a damaged tree may lead back into itself."""
        rows = self._source.execute(self._select, (at, limit)).fetchall()
        keys = [at - 1, *(row[self._key_index] for row in rows)]
        if any(key <= before for before, key in pairwise(keys)):
            raise sqlite3.DatabaseError("rows out of order")
        return rows

    def _next_key(self, rows: Sequence[Row], at: int) -> int | None:
        last = rows[-1][self._key_index] if rows else at - 1
        return None if last >= MAX_KEY else last + 1

    def _rows_before_damage(self, at: int) -> list[Row]:
        rows: list[Row] = []
        next_key: int | None = at
        try:
            while next_key is not None and (row := self._read(next_key, 1)):
                rows += row
                next_key = self._next_key(row, next_key)
        except sqlite3.DatabaseError:
            return rows
        return rows

    def _key_after_damage(self, at: int) -> int | None:
        """The next key from which rows can be read, or None. It is found in strides: the keys between are too many."""
        stride = 1
        while at + stride <= MAX_KEY and not self._is_readable(at + stride):
            stride *= 2
        if at + stride > MAX_KEY:
            return None
        low, high = at + stride // 2, at + stride
        while low < high:
            middle = (low + high) // 2
            if self._is_readable(middle):
                high = middle
            else:
                low = middle + 1
        return high

    def _is_readable(self, at: int) -> bool:
        try:
            self._read(at, 1)
        except sqlite3.DatabaseError:
            return False
        return True
