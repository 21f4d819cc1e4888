"""Whatever a damaged row or pack says, the others go out, and each with its own detail."""

from pathlib import Path

import pytest

from forwarder.ledger import UNDECODABLE, Dead, Postponed, Sent, SqliteLedger
from tests.clocks import NOON
from tests.ledger.files import changed
from tests.ledger.packs import KEPT, LATER, detail, recorded
from tests.loops import looped


@looped
async def test_a_pack_that_cannot_be_read_makes_dead_letters_and_the_others_go_out(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        for first in (0, 3, 6):
            await recorded(ledger, range(first, first + 3))
        changed(file, "UPDATE details SET body = x'00' WHERE first = 4")
        assert [each.token for each in await ledger.take(10, now=NOON)] == [1, 2, 3, 7, 8, 9]
        letters = await ledger.dead_letters()
        assert [(each.entry.execution_id, each.code, each.entry.detail) for each in letters] == [
            (f"e-{number}", UNDECODABLE, b"null") for number in (3, 4, 5)
        ]


@looped
async def test_a_pack_that_is_gone_takes_nobody_elses_details(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        for first in (0, 3, 6):
            await recorded(ledger, range(first, first + 3))
        changed(file, "DELETE FROM details WHERE first IN (1, 7)")
        assert [(each.token, each.entry.detail) for each in await ledger.take(10, now=NOON)] == [
            (number + 1, detail(number)) for number in (3, 4, 5)
        ]
        assert (await ledger.books()).dead == 6


@pytest.mark.parametrize(("body", "left"), [("CAST(body AS TEXT)", 6), ("5", 3), ("1.5", 3), ("''", 3)])
@looped
async def test_a_pack_that_is_no_blob_any_more_holds_nobody_up(tmp_path: Path, body: str, left: int) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        for first in (0, 3):
            await recorded(ledger, range(first, first + 3))
        changed(tmp_path / "ledger.db", f"UPDATE details SET body = {body} WHERE first = 1")  # noqa: S608  # texts of this test
        taken = await ledger.take(9, now=NOON)
        assert [each.entry.detail for each in taken] == [detail(number) for number in range(6 - left, 6)]
        await ledger.settle([Sent(each.token, "id") for each in taken], now=NOON)
        await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT)
        assert (await ledger.books()).dead == 6 - left


@looped
async def test_a_pack_under_a_damaged_number_gives_nobody_the_detail_of_another(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        for first in (0, 30):
            await recorded(ledger, range(first, first + 30))
        changed(file, "UPDATE details SET first = 23 WHERE first = 31")
        taken = await ledger.take(100, now=NOON)
        assert [(each.token, each.entry.detail) for each in taken] == [
            (number + 1, detail(number)) for number in range(22)
        ]


@pytest.mark.parametrize(
    "damage",
    [
        *("time = x'00'", "time = 9e999", "time = 'noon'", "due_at = 'abc'", "entry = -5", "feed = x'00'"),
        *("strikes = x'00'", "strikes = 'a'", "attempts = x'00'", "execution_id = x'00'"),
        *("execution_id = CAST(x'ff41' AS TEXT)", "history = x'ff', time = x'00'"),
    ],
)
@looped
async def test_a_cell_that_can_be_none_of_ours_does_not_hold_up_the_others(tmp_path: Path, damage: str) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await recorded(ledger, range(9))
        changed(tmp_path / "ledger.db", f"UPDATE entries SET {damage} WHERE entry = 5")  # noqa: S608  # texts of this test
        taken = await ledger.take(20, now=NOON)
        others = [(each.entry.execution_id, each.entry.detail) for each in taken if each.token not in (5, -5)]
        assert others == [(f"e-{number}", detail(number)) for number in range(9) if number != 4]
        assert await ledger.take(20, now=NOON) == []
        await ledger.settle([Postponed(each.token, "Later", LATER, strike=True) for each in taken], now=NOON)
        await ledger.settle([Dead(each.token, "No", "no") for each in taken], now=NOON)
        assert (await ledger.books()).dead == 9


@looped
async def test_a_feed_whose_name_is_no_text_any_more_holds_nobody_up(tmp_path: Path) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await recorded(ledger, range(3))
        changed(tmp_path / "ledger.db", "UPDATE feeds SET workflow_id = CAST(x'ff41' AS TEXT)")
        assert [each.entry.detail for each in await ledger.take(9, now=NOON)] == [detail(each) for each in range(3)]


@looped
async def test_numbers_that_a_damaged_sequence_makes_huge_are_numbers(tmp_path: Path) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await recorded(ledger, [0])
        changed(tmp_path / "ledger.db", "UPDATE sqlite_sequence SET seq = ?", *(2**56 + 2**55,))
        await recorded(ledger, [1, 2])
        assert [each.entry.detail for each in await ledger.take(9, now=NOON)] == [detail(each) for each in range(3)]
