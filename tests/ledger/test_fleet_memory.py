"""The payloads of a backlog stay in the table, at its owner and at its heir.

Otherwise a bus outage ends in a container that is killed for its memory, and then its heir is, and the heir's heir.
"""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from secrets import token_hex

import pytest

from forwarder.ledger import Counters
from forwarder.ledger.dynamodb import journals
from forwarder.model import Checkpoint, Entry
from tests.factories import FEED, entry
from tests.ledger.fleet_table import SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

COUNT, DETAIL_BYTES = 200, 100_000
BACKLOG_BYTES = COUNT * DETAIL_BYTES


@pytest.fixture(autouse=True)
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MAX_CACHED_BYTES", 1_000_000)


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def backlog() -> Iterator[Entry]:
    """Yield entries that do not compress well."""
    for number in range(COUNT):
        yield replace(entry(f"e-{number}"), detail=b'"%s"' % token_hex(DETAIL_BYTES // 2).encode())


async def test_backlog_does_not_stay_in_memory(table: SharedTable) -> None:
    member = await table.member()
    await member.ledger.add_feeds({FEED: Checkpoint()})
    before, _ = tracemalloc.get_traced_memory()
    for each in backlog():
        await member.ledger.record(FEED, [each], now=NOON)
    after, _ = tracemalloc.get_traced_memory()
    assert after - before < BACKLOG_BYTES / 2
    assert {len(each.entry.detail) for each in (await member.claim()).values()} == {DETAIL_BYTES + 2}


async def test_heir_does_not_load_a_backlog(table: SharedTable) -> None:
    member, heir = await table.member(), await table.member()
    await member.ledger.add_feeds({FEED: Checkpoint()})
    for each in backlog():
        await member.ledger.record(FEED, [each], now=NOON)
    name = member.member_id
    await member.kill()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    await heir.ledger.take_over(name)
    _, peak = tracemalloc.get_traced_memory()
    assert peak - before < BACKLOG_BYTES / 2
    assert len(await heir.claim()) == COUNT
    assert await table.verify() == Counters(recorded=COUNT, pending=COUNT)


async def test_journal_keeps_nothing_of_what_was_appended(table: SharedTable) -> None:
    member = await table.member()
    for number in range(20):
        await member.record(f"e-{number}")
    assert len(member.ledger.membership.journal._nonces) <= 1  # noqa: SLF001  # a few bytes of each append show in weeks
