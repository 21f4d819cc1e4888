"""The rows of recorded execution ids. A 64-bit key finds the row, and 48 more bits of the digest confirm the id."""

from collections.abc import Collection, Iterable, Mapping
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from forwarder.ledger.codec import digest

Digests = Mapping[str, tuple[int, int]]
"""Key and fingerprint by id."""


class IdRow(NamedTuple):
    """The row for an id. If `is_known` is false, the id is not recorded yet, and the row is free."""

    key: int
    fingerprint: int
    is_known: bool


def find_id(db: Connection, execution_id: str) -> IdRow:
    return find_ids(db, [execution_id])[execution_id]


def find_ids(db: Connection, execution_ids: Iterable[str]) -> dict[str, IdRow]:
    """Return the row of each id. If two ids share a key, the later one is stored under the next free key."""
    digests = _digests(execution_ids)
    fingerprints = _fingerprints(db, digests)
    rows: dict[str, IdRow] = {}
    for execution_id, (key, fingerprint) in digests.items():
        while fingerprints.get(key, fingerprint) != fingerprint:
            key += 1  # noqa: PLW2901  # another id has this row
            row = db.execute("SELECT fingerprint FROM executions WHERE key = ?", (key,)).fetchone()
            if row is not None:
                fingerprints[key] = row[0]
        rows[execution_id] = IdRow(key, fingerprint, is_known=key in fingerprints)
        # New ids are inserted together: the next one must not get the same row.
        fingerprints[key] = fingerprint
    return rows


def known_ids(db: Connection, execution_ids: Collection[str]) -> set[str]:
    """Return the ids that are recorded."""
    digests = _digests(execution_ids)
    fingerprints = _fingerprints(db, digests)
    known: set[str] = set()
    colliding: list[str] = []
    for execution_id, (key, fingerprint) in digests.items():
        if key in fingerprints:
            (known.add if fingerprints[key] == fingerprint else colliding.append)(execution_id)
    if colliding:
        known |= {execution_id for execution_id, row in find_ids(db, colliding).items() if row.is_known}
    return known


def _digests(execution_ids: Iterable[str]) -> Digests:
    return {execution_id: digest(execution_id) for execution_id in execution_ids}


def _fingerprints(db: Connection, digests: Digests) -> dict[int, int]:
    """Return the fingerprints that are stored under the keys of the digests, by key."""
    keys = msgspec.json.encode([key for key, _ in digests.values()]).decode()
    rows = db.execute("SELECT key, fingerprint FROM executions WHERE key IN (SELECT value FROM json_each(?))", (keys,))
    return dict(rows.fetchall())
