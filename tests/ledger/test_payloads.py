"""Each payload is stored in one row, and is read unchanged."""

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.ledger import SqliteLedger
from forwarder.ledger.compression import DICTIONARY, compress
from forwarder.ledger.sqlite.payloads import NUMBER_BYTES, decompress
from tests.factories import FEED, entry
from tests.ledger.ledger_files import execute_sql
from tests.ledger.stored_payloads import detail, record_numbers
from tests.virtual_clock import NOON


def stored(number: int, body: bytes) -> bytes:
    return number.to_bytes(NUMBER_BYTES, signed=True) + body


@given(st.binary(max_size=400), st.integers(-(2**63), 2**63 - 1))
def test_payload_is_read_as_it_was_stored(payload: bytes, number: int) -> None:
    assert decompress(number, stored(number, compress(payload))) == payload


def test_payload_under_another_number_is_not_read() -> None:
    body = stored(7, compress(b"{}"))
    assert decompress(7, body) == b"{}"
    assert decompress(6, body) is None


@pytest.mark.parametrize(
    "body",
    [None, b"", b"no zlib", stored(7, b""), stored(7, b"no zlib"), stored(7, zlib.compress(b"{}")[:-1]),
     stored(7, compress(b"{}" * 99)[:-5])],
)  # fmt: skip
def test_damaged_payload_is_not_read(body: bytes | None) -> None:
    assert decompress(7, body) is None


def test_dictionary_of_the_format_is_unchanged() -> None:
    """A stored row cannot be read with another dictionary: a changed one needs a new format of the ledger."""
    assert zlib.adler32(DICTIONARY) == 0x9BAF2CA8


async def test_stored_detail_is_smaller_than_without_dictionary(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    payload = (
        b'{"version":"1","executionId":"e-1","workflowId":"w-1","status":"failed","startedAt":"2026-11-20T03:12:40.406Z",'
        b'"stoppedAt":"2026-11-20T03:12:59.508Z","durationMs":19102,"error":{"message":"Request failed with status code'
        b' 503","name":"AxiosError","code":"ERR_BAD_RESPONSE","blockId":"9b1c5e0a-3f1d-4c55-8d0e-6a2f7c1b9d34"}}'
    )
    async with SqliteLedger(file, create=True) as ledger:
        await record_numbers(ledger, [])
        await ledger.record(FEED, [entry("e-1", detail=payload)], now=NOON)
    with closing(sqlite3.connect(file)) as db:
        (size,) = db.execute("SELECT length(body) FROM payloads").fetchone()
    assert size < 0.6 * len(zlib.compress(payload, level=1))


async def test_known_id_among_new_ones_does_not_shift_details(tmp_path: Path) -> None:
    async with SqliteLedger(tmp_path / "ledger.db", create=True) as ledger:
        await record_numbers(ledger, [4])
        assert await ledger.record(FEED, [entry(f"e-{each}", detail=detail(each)) for each in range(9)], now=NOON) == 8
        claimed = {each.entry.execution_id: each.entry.detail for each in await ledger.claim(10, now=NOON)}
        assert claimed == {f"e-{number}": detail(number) for number in range(9)}


async def test_entries_are_claimed_as_due_with_their_details(tmp_path: Path) -> None:
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
