"""Ledgers whose details can be told apart, and what their file holds of them."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec

from forwarder.ledger import SqliteLedger
from forwarder.ledger.sqlite.payloads import unpack
from forwarder.model import Checkpoint
from tests.clocks import NOON
from tests.samples import FEED, entry

PAYLOAD_RETENTION = timedelta(days=7)
LATER = NOON + PAYLOAD_RETENTION + timedelta(seconds=1)
"""When what was sent at noon is old enough to go."""


def detail(number: int, size: int = 300) -> bytes:
    return msgspec.json.encode({"executionId": f"e-{number}", "secret-looking": f"plant-{number}-", "pad": "x" * size})


async def record_numbers(ledger: SqliteLedger, numbers: Iterable[int]) -> None:
    """Together, and so in one pack."""
    await ledger.add_feeds({FEED: Checkpoint()})
    await ledger.record(FEED, [entry(f"e-{number}", detail=detail(number)) for number in numbers], now=NOON)


def all_payloads(file: Path) -> bytes:
    """All that packs hold."""
    with closing(sqlite3.connect(file)) as db:
        return b"".join(b"".join(unpack(*row)) for row in db.execute("SELECT first, body FROM payloads"))


def numbers_on_disk(file: Path, numbers: Iterable[int]) -> list[int]:
    """Those of which the detail is still on the disk."""
    inside = all_payloads(file)
    return [number for number in numbers if f"plant-{number}-".encode() in inside]
