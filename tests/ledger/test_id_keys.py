"""Ids are stored by 64 bits of their digest. A collision is improbable, and must not lose an entry."""

import sqlite3
from pathlib import Path

import pytest

from forwarder.ledger import SqliteLedger
from forwarder.ledger.codec import digest
from tests.factories import FEED, entry
from tests.ledger.contract import record_ids
from tests.ledger.ledger_files import create_ledger
from tests.virtual_clock import NOON

ANOTHER_FINGERPRINT = 42


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Create a ledger in which other ids have the key of `mine` and the key after it."""
    file = tmp_path / "ledger.db"
    create_ledger(file, 1)
    key, _ = digest("mine")
    other = sqlite3.connect(file)
    for key_of_other in (key, key + 1):
        other.execute("INSERT INTO executions VALUES (?, ?, 1, NULL, 1, 0, 0)", (key_of_other, ANOTHER_FINGERPRINT))
    other.commit()
    other.close()
    return file


async def test_record_with_key_collision_adds_the_id_once(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        assert await ledger.known_ids(["mine"]) == set()
        assert await record_ids(ledger, "mine", "another") == 2
        assert await ledger.known_ids(["mine", "another", "third"]) == {"mine", "another"}
        assert await ledger.record(FEED, [entry("mine"), entry("another")], now=NOON) == 0
        assert await ledger.find_feed("mine") == FEED


async def test_record_large_page_adds_all_entries(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        ids = [f"large-{number}" for number in range(250)]
        assert await record_ids(ledger, *ids) == 250
        assert await ledger.known_ids([*ids, "mine"]) == set(ids)
        claimed = await ledger.claim(300, now=NOON)
        assert [claimed_entry.entry for claimed_entry in claimed][-250:] == [entry(each) for each in ids]
