"""Settlements that arrive together share commits, and a failing one does not affect the others."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from forwarder.errors import LedgerError
from forwarder.ledger import Counters, Postponed, Sent, Settlement, SqliteLedger
from tests.ledger.contract import ANOTHER_BUS, BUS, claim_tokens, record_ids
from tests.virtual_clock import NOON

IDS = [f"n-{number}" for number in range(200)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def test_concurrent_settlements_share_commits(file: Path) -> None:
    async with SqliteLedger(file, create=True) as ledger:
        await record_ids(ledger, *IDS)
        tokens = list((await claim_tokens(ledger, 200)).values())
        chunks = [[Sent(token, f"event-{token}") for token in tokens[at : at + 10]] for at in range(0, 200, 10)]
        numbers = await asyncio.gather(*(ledger.settle(chunk, now=NOON, bus=BUS) for chunk in chunks))
        assert len(set(numbers)) < len(chunks)
        assert max(numbers) == await ledger.last_settlement_seq()
        assert await ledger.audit() == Counters(recorded=200, sent=200)
        assert (await ledger.traffic(now=NOON)).minutes[-1].sent == 200
    with closing(sqlite3.connect(file)) as db:
        assert dict(db.execute("SELECT entry, result FROM entries")) == {token: f"event-{token}" for token in tokens}


async def test_settlements_of_two_buses_stay_separate(file: Path) -> None:
    async with SqliteLedger(file, create=True) as ledger:
        await record_ids(ledger, "a", "b", "c", "d")
        token = await claim_tokens(ledger)
        buses = {"a": BUS, "b": ANOTHER_BUS, "c": BUS, "d": ANOTHER_BUS}
        await ledger.save_bus_verified(BUS, await ledger.last_settlement_seq())
        await asyncio.gather(*(ledger.settle([Sent(token[each], "e")], now=NOON, bus=buses[each]) for each in buses))
        assert await ledger.requeue(BUS, now=NOON) == 2
        assert set(await claim_tokens(ledger)) == {"a", "c"}


async def test_failed_settlement_leaves_others_committed(file: Path) -> None:
    async with SqliteLedger(file, create=True) as ledger:
        await record_ids(ledger, *IDS[:20])
        tokens = list((await claim_tokens(ledger)).values())
        settlements: list[list[Settlement]] = [[Sent(token, "e")] for token in tokens]
        settlements[7] = [Postponed(tokens[7], "X", None)]  # type: ignore[arg-type]  # an internal error
        results = await asyncio.gather(
            *(ledger.settle(each, now=NOON, bus=BUS) for each in settlements), return_exceptions=True
        )
        assert [at for at, result in enumerate(results) if isinstance(result, Exception)] == [7]
        assert await ledger.audit() == Counters(recorded=20, sent=19, pending=1)


async def test_cancelled_settle_undoes_nothing(file: Path) -> None:
    async with SqliteLedger(file, create=True) as ledger:
        await record_ids(ledger, *IDS[:20])
        tokens = list((await claim_tokens(ledger)).values())
        calls = [asyncio.create_task(ledger.settle([Sent(token, "e")], now=NOON, bus=BUS)) for token in tokens]
        await asyncio.sleep(0)
        for call in calls[::3]:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert await ledger.audit() == Counters(recorded=20, sent=20)


async def test_settle_works_again_after_the_files_came_back(file: Path) -> None:
    """A settlement that waited while the files were moved away must not keep its batch open."""
    async with SqliteLedger(file, create=True) as ledger:
        await record_ids(ledger, "a", "b")
        token = await claim_tokens(ledger)
        moved = file.with_name("moved")
        await asyncio.to_thread(file.rename, moved)
        with pytest.raises(LedgerError, match="was removed or moved"):
            await ledger.settle([Sent(token["a"], "e")], now=NOON, bus=BUS)
        await asyncio.to_thread(moved.rename, file)
        for each in ("a", "b"):
            await ledger.settle([Sent(token[each], "e")], now=NOON, bus=BUS)
        assert await ledger.audit() == Counters(recorded=2, sent=2)
