"""Ids are kept by 64 bits of their digest. That two ever share them is not to be awaited, and must harm nobody."""

import sqlite3
from pathlib import Path

import pytest

from forwarder.ledger import SqliteLedger
from forwarder.ledger.codec import digest
from tests.clocks import NOON
from tests.ledger.contract import owe
from tests.ledger.files import filled
from tests.loops import looped
from tests.samples import FEED, entry

ANOTHER_PROOF = 42


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A ledger in which other ids have the place of `mine`, and the place after it."""
    file = tmp_path / "ledger.db"
    filled(file, 1)
    key, _ = digest("mine")
    other = sqlite3.connect(file)
    for place in (key, key + 1):
        other.execute("INSERT INTO executions VALUES (?, ?, 1, NULL, 1, 0, 0)", (place, ANOTHER_PROOF))
    other.commit()
    other.close()
    return file


@looped
async def test_an_id_whose_place_is_taken_is_new_once_and_known_then(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        assert await ledger.known(["mine"]) == set()
        assert await owe(ledger, "mine", "another") == 2
        assert await ledger.known(["mine", "another", "third"]) == {"mine", "another"}
        assert await ledger.record(FEED, [entry("mine"), entry("another")], now=NOON) == 0
        assert await ledger.find("mine") == FEED


@looped
async def test_a_large_page_is_recorded_whole(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        ids = [f"large-{number}" for number in range(250)]
        assert await owe(ledger, *ids) == 250
        assert await ledger.known([*ids, "mine"]) == set(ids)
        taken = await ledger.take(300, now=NOON)
        assert [owed.entry for owed in taken][-250:] == [entry(each) for each in ids]
