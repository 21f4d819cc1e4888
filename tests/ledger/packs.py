"""Ledgers whose details can be told apart, and what their file holds of them."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec

from forwarder.ledger import SqliteLedger
from forwarder.ledger.details import unpacked
from forwarder.model import Checkpoint
from tests.clocks import NOON
from tests.samples import FEED, entry

KEPT = timedelta(days=7)
LATER = NOON + KEPT + timedelta(seconds=1)
"""When what was sent at noon is old enough to go."""


def detail(number: int, size: int = 300) -> bytes:
    return msgspec.json.encode({"executionId": f"e-{number}", "secret-looking": f"plant-{number}-", "pad": "x" * size})


async def recorded(ledger: SqliteLedger, numbers: Iterable[int]) -> None:
    """Together, and so in one pack."""
    await ledger.begin({FEED: Checkpoint()})
    await ledger.record(FEED, [entry(f"e-{number}", detail=detail(number)) for number in numbers], now=NOON)


def held(file: Path) -> bytes:
    """All that packs hold."""
    with closing(sqlite3.connect(file)) as db:
        return b"".join(b"".join(unpacked(*row)) for row in db.execute("SELECT first, body FROM details"))


def plants(file: Path, numbers: Iterable[int]) -> list[int]:
    """Those of which the detail is still on the disk."""
    inside = held(file)
    return [number for number in numbers if f"plant-{number}-".encode() in inside]
