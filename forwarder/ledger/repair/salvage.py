"""The reading of the undamaged rows of a table, in the order of its key."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

MIN_KEY, MAX_KEY = -(2**63), 2**63 - 1

ROWS_PER_QUERY = 500

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class RowRange:
    """Successive rows. `gap` is true if the rows after this range cannot be read."""

    rows: Sequence[Row]
    gap: bool = False


def readable_ranges(source: sqlite3.Connection, table: str, key: str, columns: Sequence[str]) -> Iterator[RowRange]:
    """Yield the readable rows in ranges of up to ROWS_PER_QUERY, in the order of the key.

    A range before damage has `gap` set. Raise no error for the damage.
    """
    return _Table(source, table, key, columns).ranges()


class _Table:
    def __init__(self, source: sqlite3.Connection, table: str, key: str, columns: Sequence[str]) -> None:
        self._source = source
        self._select = f"SELECT {', '.join(columns)} FROM {table} WHERE {key} >= ? ORDER BY {key} LIMIT ?"  # noqa: S608  # constants
        self._key_column = columns.index(key)

    def ranges(self) -> Iterator[RowRange]:
        start: int | None = MIN_KEY
        while start is not None:
            try:
                rows = self._from(start, ROWS_PER_QUERY)
            except sqlite3.DatabaseError:
                rows = self._before_the_damage(start)
                yield RowRange(rows, gap=True)
                after = self._after(rows, start)
                start = None if after is None else self._behind_the_damage(after)
            else:
                yield RowRange(rows)
                start = self._after(rows, start) if len(rows) == ROWS_PER_QUERY else None

    def _from(self, start: int, limit: int) -> list[Row]:
        """Return up to `limit` rows whose key is `start` or higher.

        Raise sqlite3.DatabaseError if the rows cannot be read or are out of order. A damaged tree can contain a loop.
        """
        rows = self._source.execute(self._select, (start, limit)).fetchall()
        keys = [start - 1, *(row[self._key_column] for row in rows)]
        if any(key <= before for before, key in pairwise(keys)):
            raise sqlite3.DatabaseError("rows out of order")
        return rows

    def _after(self, rows: Sequence[Row], start: int) -> int | None:
        """Return the smallest key after the rows, or None after the largest possible key."""
        last = rows[-1][self._key_column] if rows else start - 1
        return None if last >= MAX_KEY else last + 1

    def _before_the_damage(self, start: int) -> list[Row]:
        rows: list[Row] = []
        after: int | None = start
        try:
            while after is not None and (found := self._from(after, 1)):
                rows += found
                after = self._after(found, after)
        except sqlite3.DatabaseError:
            return rows
        return rows

    def _behind_the_damage(self, start: int) -> int | None:
        """Return a key above `start` from which rows can be read, or None if no such key is found.

        The search doubles its stride, then bisects, because there are too many keys to try each.
        """
        stride = 1
        while start + stride <= MAX_KEY and not self._can_read(start + stride):
            stride *= 2
        if start + stride > MAX_KEY:
            return None
        low, high = start + stride // 2, start + stride
        while low < high:
            middle = (low + high) // 2
            if self._can_read(middle):
                high = middle
            else:
                low = middle + 1
        return high

    def _can_read(self, start: int) -> bool:
        try:
            self._from(start, 1)
        except sqlite3.DatabaseError:
            return False
        return True
