"""Details are packed with those that were recorded with them, and each comes and goes alone."""

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from forwarder.ledger import Sent, SqliteLedger
from forwarder.ledger.details import LARGEST_PACK, listed, packed, unpacked
from forwarder.model import Checkpoint, Feed
from tests.clocks import NOON
from tests.ledger.contract import owe
from tests.ledger.files import changed
from tests.ledger.packs import KEPT, LATER, detail, plants, recorded
from tests.loops import looped
from tests.samples import FEED, entry

NUMBER = (7).to_bytes(8)


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
async def test_what_was_recorded_by_another_feed_meanwhile_does_not_shift_the_others(tmp_path: Path) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await recorded(ledger, [4])
        assert await ledger.record(FEED, [entry(f"e-{each}", detail=detail(each)) for each in range(9)], now=NOON) == 8
        taken = {each.entry.execution_id: each.entry.detail for each in await ledger.take(10, now=NOON)}
        assert taken == {f"e-{number}": detail(number) for number in range(9)}


@looped
async def test_entries_of_many_packs_come_as_they_are_due_each_with_its_own_detail(tmp_path: Path) -> None:
    count = 200
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        for first in range(0, count, 2):
            await recorded(ledger, [first, first + 1])
        changed(tmp_path / "ledger.db", "UPDATE entries SET due_at = due_at - (entry * 7919) % 200")
        taken = await ledger.take(count, now=NOON)
    order = sorted(range(count), key=lambda number: (-((number + 1) * 7919 % 200), number))
    assert order != sorted(order)
    assert [(each.entry.execution_id, each.entry.detail) for each in taken] == [
        (f"e-{number}", detail(number)) for number in order
    ]


@looped
async def test_details_that_an_earlier_format_kept_alone_are_taken_shown_and_let_go_of(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    other = Feed("w-other")
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.begin({other: Checkpoint()})
        await owe(ledger, "a", "b", feed=other)
        changed(file, "DELETE FROM details")
        for number in range(2):
            changed(file, "INSERT INTO details VALUES (?, ?)", number + 1, zlib.compress(detail(number)))
        taken = await ledger.take(10, now=NOON)
        assert [each.entry.detail for each in taken] == [detail(0), detail(1)]
        assert [each.entry.detail for each in await ledger.latest(10)] == [detail(1), detail(0)]
        await ledger.settle([Sent(taken[0].token, "id")], now=NOON)
        await ledger.sweep(now=LATER, remember=2 * KEPT, keep_payload=KEPT)
        assert plants(file, range(2)) == [1]
