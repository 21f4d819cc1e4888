"""Details are packed with those that were recorded with them, and each comes and goes alone."""

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from forwarder.ledger import Sent, SqliteLedger
from forwarder.ledger.sqlite.payloads import MAX_PACK_BYTES, pack, payload_at, unpack
from forwarder.model import Checkpoint, Feed
from tests.clocks import NOON
from tests.ledger.contract import record_ids
from tests.ledger.ledger_files import execute_sql
from tests.ledger.payload_packs import LATER, PAYLOAD_RETENTION, detail, numbers_on_disk, record_numbers
from tests.loops import looped
from tests.samples import FEED, entry

NUMBER = (7).to_bytes(8)


@given(st.lists(st.binary(max_size=40).map(lambda inside: b"{" + inside), max_size=30))
def test_unpack_returns_packed_details_in_order(details: list[bytes]) -> None:
    packs = pack(details)
    lists = [unpack(7, NUMBER + zipped) for _, zipped in packs]
    assert [count for count, _ in packs] == [len(each) for each in lists]
    assert [each for pack in lists for each in pack] == details


def test_pack_limits_bytes_and_isolates_large_details() -> None:
    small, large = b"{" * (MAX_PACK_BYTES // 2), b"{" * (MAX_PACK_BYTES + 1)
    assert [count for count, _ in pack([small] * 5)] == [2, 2, 1]
    assert [count for count, _ in pack([small, large, small])] == [1, 1, 1]
    assert pack([]) == []


def test_unpack_invalid_body_returns_nothing() -> None:
    none = (b"no zlib", zlib.compress(b"no list"), zlib.compress(msgspec.msgpack.encode(["a"])), b"")
    for body in (None, b"", b"no zlib", b"\0", NUMBER, *(NUMBER + each for each in none)):
        assert list(unpack(7, body)) == []
    assert list(unpack(None, zlib.compress(b"{}"))) == []
    assert payload_at([b"{}", b""], 0) == b"{}"
    assert [payload_at([b"{}", b""], position) for position in (1, 2, -1)] == [None] * 3


def test_unpack_with_other_number_returns_nothing() -> None:
    ((_, zipped),) = pack([b"{}", b"{}"])
    assert list(unpack(7, NUMBER + zipped)) == [b"{}", b"{}"]
    assert list(unpack(6, NUMBER + zipped)) == []


@looped
async def test_pack_of_page_is_smaller_than_single_details(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    async with SqliteLedger(file, create=True) as ledger:
        await record_numbers(ledger, range(30))
    with closing(sqlite3.connect(file)) as db:
        (kept,) = db.execute("SELECT sum(length(body)) FROM payloads").fetchone()
    assert kept < sum(len(zlib.compress(detail(number), level=1)) for number in range(30)) / 3


@looped
async def test_record_partly_known_page_keeps_details_aligned(tmp_path: Path) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await record_numbers(ledger, [4])
        assert await ledger.record(FEED, [entry(f"e-{each}", detail=detail(each)) for each in range(9)], now=NOON) == 8
        claimed = {each.entry.execution_id: each.entry.detail for each in await ledger.claim(10, now=NOON)}
        assert claimed == {f"e-{number}": detail(number) for number in range(9)}


@looped
async def test_claim_from_many_packs_is_in_due_order(tmp_path: Path) -> None:
    count = 200
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        for first in range(0, count, 2):
            await record_numbers(ledger, [first, first + 1])
        execute_sql(tmp_path / "ledger.db", "UPDATE entries SET due_at = due_at - (entry * 7919) % 200")
        claimed = await ledger.claim(count, now=NOON)
    order = sorted(range(count), key=lambda number: (-((number + 1) * 7919 % 200), number))
    assert order != sorted(order)
    assert [(each.entry.execution_id, each.entry.detail) for each in claimed] == [
        (f"e-{number}", detail(number)) for number in order
    ]


@looped
async def test_single_payloads_of_earlier_format_are_usable(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    other = Feed("w-other")
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({other: Checkpoint()})
        await record_ids(ledger, "a", "b", feed=other)
        execute_sql(file, "DELETE FROM payloads")
        for number in range(2):
            execute_sql(file, "INSERT INTO payloads VALUES (?, ?)", number + 1, zlib.compress(detail(number)))
        claimed = await ledger.claim(10, now=NOON)
        assert [each.entry.detail for each in claimed] == [detail(0), detail(1)]
        assert [each.entry.detail for each in await ledger.latest_entries(10)] == [detail(1), detail(0)]
        await ledger.settle([Sent(claimed[0].token, "id")], now=NOON)
        await ledger.apply_retention(now=LATER, id_retention=2 * PAYLOAD_RETENTION, payload_retention=PAYLOAD_RETENTION)
        assert numbers_on_disk(file, range(2)) == [1]
