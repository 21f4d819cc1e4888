"""The counts of each minute are only displayed: they cause no commit of their own, and cannot prevent one."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from forwarder.ledger import MinuteCounts, Sent, SqliteLedger
from forwarder.model import Checkpoint
from tests.factories import FEED, entry
from tests.ledger.ledger_files import execute_sql
from tests.virtual_clock import NOON

MINUTE = timedelta(minutes=1)


def saved_minutes(file: Path) -> list[tuple[int, int]]:
    """Return recorded and sent executions of each minute in the file."""
    with closing(sqlite3.connect(file)) as db:
        return db.execute("SELECT recorded, sent FROM minutes ORDER BY minute").fetchall()


async def record_and_send(ledger: SqliteLedger, execution_id: str, after: timedelta) -> None:
    await ledger.record(FEED, [entry(execution_id)], now=NOON + after)
    (claimed,) = await ledger.claim(1, now=NOON + after)
    await ledger.settle([Sent(claimed.token, "event")], now=NOON + after)


async def test_counts_of_a_running_minute_are_in_memory_only(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
        for number in range(5):
            await record_and_send(ledger, f"e-{number}", timedelta(seconds=number))
        assert saved_minutes(file) == []
        assert (await ledger.traffic(now=NOON + MINUTE)).minutes == [MinuteCounts(NOON, 5, 5)]


async def test_counts_are_saved_once_with_a_write_of_a_later_minute(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
        await record_and_send(ledger, "a", timedelta())
        await record_and_send(ledger, "b", MINUTE)
        await record_and_send(ledger, "c", MINUTE)
        assert saved_minutes(file) == [(1, 1)]
        expected = [MinuteCounts(NOON, 1, 1), MinuteCounts(NOON + MINUTE, 2, 2)]
        assert (await ledger.traffic(now=NOON + 2 * MINUTE)).minutes == expected
    assert saved_minutes(file) == [(1, 1), (2, 2)], "closing saves the rest"


async def test_closing_without_counts_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
    before = file.read_bytes()
    async with SqliteLedger(file) as ledger:
        await ledger.counters()
    assert file.read_bytes() == before


async def test_unusable_table_of_counts_does_not_stop_settling(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
        await record_and_send(ledger, "a", timedelta())
        execute_sql(file, "ALTER TABLE lags RENAME TO moved")
        await record_and_send(ledger, "b", MINUTE)
        await record_and_send(ledger, "c", 2 * MINUTE)
        execute_sql(file, "ALTER TABLE moved RENAME TO lags")
        assert (await ledger.counters()).sent == 3
