"""Details are packed with those that were recorded with them, and each comes and goes alone."""

import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from forwarder.ledger import UNDECODABLE, Books, Dead, Sent, SqliteLedger
from forwarder.ledger.details import LARGEST_PACK, listed, packed, unpacked
from forwarder.model import Checkpoint, Feed
from tests.clocks import NOON
from tests.ledger.contract import owe
from tests.loops import looped
from tests.samples import FEED, entry

KEPT = timedelta(days=7)
LATER = NOON + KEPT + timedelta(seconds=1)


def detail(number: int, size: int = 300) -> bytes:
    return msgspec.json.encode({"executionId": f"e-{number}", "secret-looking": f"plant-{number}-", "pad": "x" * size})


def held(file: Path) -> bytes:
    """All that packs hold."""
    with closing(sqlite3.connect(file)) as db:
        return b"".join(zlib.decompress(body) for (body,) in db.execute("SELECT body FROM details"))


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
    assert [count for count, _ in packs] == [len(unpacked(body)) for _, body in packs]
    assert [each for _, body in packs for each in unpacked(body)] == details


def test_a_pack_is_of_so_many_bytes_and_a_larger_detail_alone() -> None:
    small, large = b"{" * (LARGEST_PACK // 2), b"{" * (LARGEST_PACK + 1)
    assert [count for count, _ in packed([small] * 5)] == [2, 2, 1]
    assert [count for count, _ in packed([small, large, small])] == [1, 1, 1]
    assert packed([]) == []


def test_what_is_no_pack_lists_nothing() -> None:
    for body in (None, b"", b"no zlib", zlib.compress(b"no list"), zlib.compress(msgspec.msgpack.encode(["a"]))):
        assert list(unpacked(body)) == []
    assert listed([b"{}", b""], 0) == b"{}"
    assert [listed([b"{}", b""], place) for place in (1, 2, None)] == [None, None, None]


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
