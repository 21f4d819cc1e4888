"""The work of a page does not grow with the entries that do not match, in a ledger with many."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import pytest

from forwarder.ledger import EntryFilter
from forwarder.ledger.sqlite.migrations import DEAD, PENDING, SENT, migrate
from forwarder.ledger.sqlite.pages import matching_rows
from tests.virtual_clock import NOON

FEEDS, ENTRIES = 20, 20_000
FEW = 5
"""The entries of each state that are older than all others, which are sent."""

MAX_STEPS = 20_000
"""Instructions of SQLite's virtual machine. Reading each entry once takes more than 100,000."""


@pytest.fixture(scope="module")
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db)
        db.executemany("INSERT INTO feeds (feed, workflow_id, user_id) VALUES (?, ?, '')", enumerate_feeds())
        states = [PENDING] * FEW + [DEAD] * FEW + [SENT] * (ENTRIES - 2 * FEW)
        db.executemany(
            """INSERT INTO entries (entry, key, execution_id, feed, state, time, recorded_at, due_at)
               VALUES (?1, ?1, ?1, ?2, ?3, 0, ?1, 0)""",
            [(number, number % FEEDS, state) for number, state in enumerate(states, 1)],
        )
        yield db


def enumerate_feeds() -> list[tuple[int, str]]:
    return [(number, f"w-{number}") for number in range(FEEDS)]


@pytest.mark.parametrize(
    "matching",
    [
        EntryFilter(),
        EntryFilter("pending"),
        EntryFilter("sent"),
        EntryFilter("dead"),
        EntryFilter(workflow_id="w-1"),
        EntryFilter("dead", "w-1"),
        EntryFilter(workflow_id="unknown"),
        EntryFilter(recorded_from=NOON, recorded_to=NOON),
        EntryFilter("sent", "w-1", NOON, NOON),
    ],
    ids=str,
)
@pytest.mark.parametrize("position", [None, (ENTRIES // 2, 0)], ids=["first", "middle"])
def test_page_of_each_filter_reads_few_rows(
    db: sqlite3.Connection, matching: EntryFilter, position: tuple[int, int] | None
) -> None:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 100
        return 0

    db.set_progress_handler(count, 100)
    rows = list(islice(matching_rows(db, matching, position), 100))
    db.set_progress_handler(None, 0)
    assert rows == sorted(rows, reverse=True)
    assert steps < MAX_STEPS
