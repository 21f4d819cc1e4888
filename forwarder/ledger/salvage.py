"""Reading a table around its damage: by key, since every table that can be large is in the order of one."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

# A key is a signed 64-bit number.
LOWEST, HIGHEST = -(2**63), 2**63 - 1

ROWS_AT_ONCE = 500

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that follow each other; `gap` is whether what came after them could not be read."""

    rows: Sequence[Row]
    gap: bool = False


def readable(source: sqlite3.Connection, table: str, key: str, columns: Sequence[str]) -> Iterator[Found]:
    """All that can be read of a table, in the order of its key."""
    return _Table(source, table, key, columns).all()


class _Table:
    def __init__(self, source: sqlite3.Connection, table: str, key: str, columns: Sequence[str]) -> None:
        self._source = source
        self._select = f"SELECT {', '.join(columns)} FROM {table} WHERE {key} >= ? ORDER BY {key} LIMIT ?"  # noqa: S608  # names of ours
        self._where = columns.index(key)

    def all(self) -> Iterator[Found]:
        at: int | None = LOWEST
        while at is not None:
            try:
                rows = self._from(at, ROWS_AT_ONCE)
            except sqlite3.DatabaseError:
                rows = self._up_to_the_damage(at)
                yield Found(rows, gap=True)
                after = self._after(rows, at)
                at = None if after is None else self._beyond_the_damage(after)
            else:
                yield Found(rows)
                at = self._after(rows, at) if len(rows) == ROWS_AT_ONCE else None

    def _from(self, at: int, limit: int) -> list[Row]:
        """Raises sqlite3.DatabaseError, also for rows out of order: a damaged tree may lead back into itself."""
        rows = self._source.execute(self._select, (at, limit)).fetchall()
        keys = [at - 1, *(row[self._where] for row in rows)]
        if any(key <= before for before, key in pairwise(keys)):
            raise sqlite3.DatabaseError("rows out of order")
        return rows

    def _after(self, rows: Sequence[Row], at: int) -> int | None:
        last = rows[-1][self._where] if rows else at - 1
        return None if last >= HIGHEST else last + 1

    def _up_to_the_damage(self, at: int) -> list[Row]:
        rows: list[Row] = []
        after: int | None = at
        try:
            while after is not None and (found := self._from(after, 1)):
                rows += found
                after = self._after(found, after)
        except sqlite3.DatabaseError:
            return rows
        return rows

    def _beyond_the_damage(self, at: int) -> int | None:
        """The next key from which rows can be read, or None. It is found in strides: the keys between are too many."""
        stride = 1
        while at + stride <= HIGHEST and not self._can_read(at + stride):
            stride *= 2
        if at + stride > HIGHEST:
            return None
        low, high = at + stride // 2, at + stride
        while low < high:
            middle = (low + high) // 2
            if self._can_read(middle):
                high = middle
            else:
                low = middle + 1
        return high

    def _can_read(self, at: int) -> bool:
        try:
            self._from(at, 1)
        except sqlite3.DatabaseError:
            return False
        return True
