"""Settlements that come together are booked together, and none of them is the worse for it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from forwarder.ledger import Books, Postponed, Sent, Settlement, SqliteLedger
from tests.clocks import NOON
from tests.ledger.contract import ANOTHER_BUS, BUS, owe, taken
from tests.loops import looped

IDS = [f"n-{number}" for number in range(200)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@looped
async def test_what_waits_for_one_commit_goes_into_it_as_one(file: Path) -> None:
    async with SqliteLedger(file, create=True) as ledger:
        await owe(ledger, *IDS)
        tokens = list((await taken(ledger, 200)).values())
        parts = [[Sent(token, f"event-{token}") for token in tokens[at : at + 10]] for at in range(0, 200, 10)]
        numbers = await asyncio.gather(*(ledger.settle(part, now=NOON, bus=BUS) for part in parts))
        assert len(set(numbers)) < len(parts)
        assert max(numbers) == await ledger.last_settle()
        assert await ledger.audit() == Books(recorded=200, sent=200)
        assert (await ledger.traffic(now=NOON)).minutes[-1].sent == 200
    with closing(sqlite3.connect(file)) as db:
        assert dict(db.execute("SELECT entry, answer FROM entries")) == {token: f"event-{token}" for token in tokens}


@looped
async def test_settlements_of_two_buses_are_told_apart(file: Path) -> None:
    async with SqliteLedger(file, create=True) as ledger:
        await owe(ledger, "a", "b", "c", "d")
        token = await taken(ledger)
        buses = {"a": BUS, "b": ANOTHER_BUS, "c": BUS, "d": ANOTHER_BUS}
        await ledger.note_bus(BUS, await ledger.last_settle())
        await asyncio.gather(*(ledger.settle([Sent(token[each], "e")], now=NOON, bus=buses[each]) for each in buses))
        assert await ledger.owe_again(BUS, now=NOON) == 2
        assert set(await taken(ledger)) == {"a", "c"}


@looped
async def test_what_cannot_be_booked_leaves_its_neighbours_alone(file: Path) -> None:
    async with SqliteLedger(file, create=True) as ledger:
        await owe(ledger, *IDS[:20])
        tokens = list((await taken(ledger)).values())
        settlements: list[list[Settlement]] = [[Sent(token, "e")] for token in tokens]
        settlements[7] = [Postponed(tokens[7], "X", None)]  # type: ignore[arg-type]  # a fault of ours
        results = await asyncio.gather(
            *(ledger.settle(each, now=NOON, bus=BUS) for each in settlements), return_exceptions=True
        )
        assert [at for at, result in enumerate(results) if isinstance(result, Exception)] == [7]
        assert await ledger.audit() == Books(recorded=20, sent=19, owed=1)


@looped
async def test_a_caller_that_is_cancelled_undoes_nothing(file: Path) -> None:
    async with SqliteLedger(file, create=True) as ledger:
        await owe(ledger, *IDS[:20])
        tokens = list((await taken(ledger)).values())
        calls = [asyncio.create_task(ledger.settle([Sent(token, "e")], now=NOON, bus=BUS)) for token in tokens]
        await asyncio.sleep(0)
        for call in calls[::3]:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert await ledger.audit() == Books(recorded=20, sent=20)
