"""Details are packed with those that were recorded with them, and each comes and goes alone."""

import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.ledger import UNDECODABLE, Books, Dead, Postponed, Sent, SqliteLedger
from forwarder.ledger.details import LARGEST_PACK, listed, packed, unpacked
from forwarder.ledger.sweeping import DETAILS_A_STEP, PACKS_A_STEP
from forwarder.model import Checkpoint, Feed
from tests.clocks import NOON
from tests.ledger.contract import owe
from tests.loops import looped
from tests.samples import FEED, entry

KEPT = timedelta(days=7)
LATER = NOON + KEPT + timedelta(seconds=1)


NUMBER = (7).to_bytes(8)


def detail(number: int, size: int = 300) -> bytes:
    return msgspec.json.encode({"executionId": f"e-{number}", "secret-looking": f"plant-{number}-", "pad": "x" * size})


def held(file: Path) -> bytes:
    """All that packs hold."""
    with closing(sqlite3.connect(file)) as db:
        return b"".join(b"".join(unpacked(*row)) for row in db.execute("SELECT first, body FROM details"))


def plants(file: Path, numbers: Iterable[int]) -> list[int]:
    """Those of which the detail is still on the disk."""
    inside = held(file)
    return [number for number in numbers if f"plant-{number}-".encode() in inside]


async def recorded(ledger: SqliteLedger, numbers: Iterable[int]) -> None:
    await ledger.begin({FEED: Checkpoint()})
    await ledger.record(FEED, [entry(f"e-{number}", detail=detail(number)) for number in numbers], now=NOON)


@given(st.lists(st.binary(max_size=40).map(lambda inside: b"{" + inside), max_size=30))
def test_what_is_packed_is_listed_in_order(details: list[bytes]) -> None:
    packs = packed(details)
    listed = [unpacked(7, NUMBER + zipped) for _, zipped in packs]
    assert [count for count, _ in packs] == [len(each) for each in listed]
    assert [each for pack in listed for each in pack] == details


def test_a_pack_is_of_so_many_bytes_and_a_larger_detail_alone() -> None:
    small, large = b"{" * (LARGEST_PACK // 2), b"{" * (LARGEST_PACK + 1)
    assert [count for count, _ in packed([small] * 5)] == [2, 2, 1]
    assert [count for count, _ in packed([small, large, small])] == [1, 1, 1]
    assert packed([]) == []


def test_what_is_no_pack_lists_nothing() -> None:
    none = (b"no zlib", zlib.compress(b"no list"), zlib.compress(msgspec.msgpack.encode(["a"])), b"")
    for body in (None, b"", b"no zlib", b"\0", NUMBER, *(NUMBER + each for each in none)):
        assert list(unpacked(7, body)) == []
    assert list(unpacked(None, zlib.compress(b"{}"))) == []
    assert listed([b"{}", b""], 0) == b"{}"
    assert [listed([b"{}", b""], place) for place in (1, 2, -1)] == [None] * 3


def test_a_pack_under_another_number_than_its_own_lists_nothing() -> None:
    ((_, zipped),) = packed([b"{}", b"{}"])
    assert list(unpacked(7, NUMBER + zipped)) == [b"{}", b"{}"]
    assert list(unpacked(6, NUMBER + zipped)) == []


@looped
async def test_details_of_a_page_take_a_fraction_of_what_they_take_alone(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await recorded(ledger, range(30))
    with closing(sqlite3.connect(file)) as db:
        (kept,) = db.execute("SELECT sum(length(body)) FROM details").fetchone()
    assert kept < sum(len(zlib.compress(detail(number), level=1)) for number in range(30)) / 3


@looped
async def test_what_was_sent_is_let_go_of_and_a_dead_letter_beside_it_stays(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await recorded(ledger, range(10))
        taken = await ledger.take(10, now=NOON)
        await ledger.settle([Sent(each.token, "id") for each in taken[:3]], now=NOON)
        await ledger.settle([Dead(taken[3].token, "No", "no")], now=NOON)
        await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT)
        assert plants(file, range(10)) == list(range(3, 10))
        assert (await ledger.dead_letters())[0].entry.detail == detail(3)
        await ledger.settle([Sent(each.token, "id") for each in taken[4:]], now=NOON)
        await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT)
        assert plants(file, range(10)) == [3]
        assert (await ledger.dead_letters())[0].entry.detail == detail(3)
        await ledger.purge_dead(None)
        assert held(file) == b""
        assert await ledger.audit() == Books(recorded=10, sent=9, purged=1)


@looped
async def test_what_was_recorded_by_another_feed_meanwhile_does_not_shift_the_others(tmp_path: Path) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await recorded(ledger, [4])
        assert await ledger.record(FEED, [entry(f"e-{each}", detail=detail(each)) for each in range(9)], now=NOON) == 8
        taken = {each.entry.execution_id: each.entry.detail for each in await ledger.take(10, now=NOON)}
        assert taken == {f"e-{number}": detail(number) for number in range(9)}


@looped
async def test_more_packs_than_are_held_unpacked_at_once_are_taken_in_any_order(tmp_path: Path) -> None:
    count = 200
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        for first in range(0, count, 2):
            await recorded(ledger, [first, first + 1])
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as db:
            db.execute("UPDATE entries SET due_at = due_at - (entry * 7919) % 200")
        taken = await ledger.take(count, now=NOON)
    assert [each.entry.execution_id for each in taken] != [f"e-{number}" for number in range(count)]
    assert {each.entry.execution_id: each.entry.detail for each in taken} == {
        f"e-{number}": detail(number) for number in range(count)
    }


@looped
async def test_a_pack_that_cannot_be_read_makes_dead_letters_and_the_others_go_out(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        for first in (0, 3, 6):
            await recorded(ledger, range(first, first + 3))
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("UPDATE details SET body = x'00' WHERE first = 4")
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
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("DELETE FROM details WHERE first IN (1, 7)")
        assert [(each.token, each.entry.detail) for each in await ledger.take(10, now=NOON)] == [
            (number + 1, detail(number)) for number in (3, 4, 5)
        ]
        assert (await ledger.books()).dead == 6


@looped
async def test_details_that_an_earlier_format_kept_alone_are_taken_shown_and_let_go_of(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    other = Feed("w-other")
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.begin({other: Checkpoint()})
        await owe(ledger, "a", "b", feed=other)
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("DELETE FROM details")
            rows = [(number + 1, zlib.compress(detail(number))) for number in range(2)]
            db.executemany("INSERT INTO details VALUES (?, ?)", rows)
        taken = await ledger.take(10, now=NOON)
        assert [each.entry.detail for each in taken] == [detail(0), detail(1)]
        assert [each.entry.detail for each in await ledger.latest(10)] == [detail(1), detail(0)]
        await ledger.settle([Sent(taken[0].token, "id")], now=NOON)
        await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT)
        assert plants(file, range(2)) == [1]


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
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as db:
            db.execute(f"UPDATE entries SET {damage} WHERE entry = 5")  # noqa: S608  # texts of this test
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
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as db:
            db.execute("UPDATE feeds SET workflow_id = CAST(x'ff41' AS TEXT)")
        assert [each.entry.detail for each in await ledger.take(9, now=NOON)] == [detail(each) for each in range(3)]


@pytest.mark.parametrize(("body", "left"), [("CAST(body AS TEXT)", 6), ("5", 3), ("1.5", 3), ("''", 3)])
@looped
async def test_a_pack_that_is_no_blob_any_more_holds_nobody_up(tmp_path: Path, body: str, left: int) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        for first in (0, 3):
            await recorded(ledger, range(first, first + 3))
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as db:
            db.execute(f"UPDATE details SET body = {body} WHERE first = 1")  # noqa: S608  # texts of this test
        taken = await ledger.take(9, now=NOON)
        assert [each.entry.detail for each in taken] == [detail(number) for number in range(6 - left, 6)]
        await ledger.settle([Sent(each.token, "id") for each in taken], now=NOON)
        await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT)
        assert (await ledger.books()).dead == 6 - left


@looped
async def test_numbers_that_a_damaged_sequence_makes_huge_are_numbers(tmp_path: Path) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await recorded(ledger, [0])
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as db:
            db.execute("UPDATE sqlite_sequence SET seq = ?", (2**56 + 2**55,))
        await recorded(ledger, [1, 2])
        assert [each.entry.detail for each in await ledger.take(9, now=NOON)] == [detail(each) for each in range(3)]


@looped
async def test_a_pack_under_a_damaged_number_gives_nobody_the_detail_of_another(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        for first in (0, 30):
            await recorded(ledger, range(first, first + 30))
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("UPDATE details SET first = 23 WHERE first = 31")
        taken = await ledger.take(100, now=NOON)
        assert [(each.token, each.entry.detail) for each in taken] == [
            (number + 1, detail(number)) for number in range(22)
        ]


@looped
async def test_a_step_of_a_sweep_lets_go_of_all_that_is_old_in_the_packs_it_touches(tmp_path: Path) -> None:
    """Settled across many packs, as after an outage: each pack is packed anew once, and not for each of its entries."""
    file = tmp_path / "ledger.db"
    pages, page = 2 * PACKS_A_STEP, 8
    async with SqliteLedger(file, create=True) as ledger:
        for first in range(0, pages * page, page):
            await recorded(ledger, range(first, first + page))
        taken = await ledger.take(pages * page, now=NOON)
        for place in range(page - 1):  # one of each page stays owed
            await ledger.settle([Sent(each.token, "id") for each in taken[place::page]], now=NOON)
        steps = 0
        while await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT):
            steps += 1
        assert steps <= pages // PACKS_A_STEP + 1
    assert plants(file, range(pages * page)) == list(range(page - 1, pages * page, page))


@looped
async def test_packs_of_one_go_as_quickly_as_others(tmp_path: Path) -> None:
    count = 2 * DETAILS_A_STEP
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        for number in range(count):
            await recorded(ledger, [number])
        taken = await ledger.take(count, now=NOON)
        await ledger.settle([Sent(each.token, "id") for each in taken], now=NOON)
        steps = 1
        while await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT):
            steps += 1
        assert steps <= count // DETAILS_A_STEP + 1
    assert held(tmp_path / "ledger.db") == b""


@looped
async def test_what_is_in_doubt_does_not_keep_what_was_sent_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwarder.ledger.sweeping.DETAILS_A_STEP", 2)
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        for number in range(8):
            await recorded(ledger, [number])
        tokens = [each.token for each in await ledger.take(8, now=NOON)]
        await ledger.note_bus("doubted", 0)
        await ledger.settle([Sent(token, "id") for token in tokens[:4]], now=NOON, bus="doubted")
        await ledger.settle([Sent(token, "id") for token in tokens[4:]], now=NOON, bus="seen")
        while await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT):
            pass
        assert plants(tmp_path / "ledger.db", range(8)) == [0, 1, 2, 3]
