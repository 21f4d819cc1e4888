"""Ledgers with distinguishable details, and the details that their file stores."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec

from forwarder.ledger import SqliteLedger
from forwarder.ledger.sqlite.payloads import decompress
from forwarder.model import Checkpoint
from tests.factories import FEED, entry
from tests.virtual_clock import NOON

PAYLOAD_RETENTION = timedelta(days=7)
LATER = NOON + PAYLOAD_RETENTION + timedelta(seconds=1)
"""The time at which payloads sent at noon are old enough to be deleted."""


def detail(number: int, size: int = 300) -> bytes:
    return msgspec.json.encode({"executionId": f"e-{number}", "secret-looking": f"plant-{number}-", "pad": "x" * size})


async def record_numbers(ledger: SqliteLedger, numbers: Iterable[int]) -> None:
    await ledger.add_feeds({FEED: Checkpoint()})
    await ledger.record(FEED, [entry(f"e-{number}", detail=detail(number)) for number in numbers], now=NOON)


def all_payloads(file: Path) -> bytes:
    """Return all stored details, one after the other."""
    with closing(sqlite3.connect(file)) as db:
        return b"".join(decompress(*row) or b"" for row in db.execute("SELECT entry, body FROM payloads"))


def numbers_on_disk(file: Path, numbers: Iterable[int]) -> list[int]:
    """Return the numbers whose detail is still stored."""
    inside = all_payloads(file)
    return [number for number in numbers if f"plant-{number}-".encode() in inside]
