"""The limits of DynamoDB: an item has 400 KB, a page of a query 1 MB, a partition key 2,048 bytes, a sort key 1,024.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from dataclasses import replace
from datetime import timedelta
from secrets import token_hex

import pytest
from structlog.testing import capture_logs

from forwarder.ledger import Counters, EntryFilter
from forwarder.ledger.traffic import MIN_LAG_MICROSECONDS, STEP_RATIO, TrafficCounts
from forwarder.model import Checkpoint, Feed
from tests.factories import FEED, entry
from tests.ledger.fleet_table import SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb


async def test_checkpoint_with_many_open_executions_is_saved(table: SharedTable) -> None:
    """An item can hold about 9,000. The oldest of them set the depth of the next full scan."""
    member, other = await table.member(), await table.start()
    opened = {f"{number:024x}": NOON - timedelta(seconds=number) for number in range(12_000)}
    checkpoint = Checkpoint(watermark=NOON, full_scan_at=NOON, open_executions=opened)
    await member.ledger.add_feeds({FEED: Checkpoint()})
    await member.ledger.record(FEED, [], now=NOON, checkpoint=checkpoint)
    with capture_logs() as lines:
        await member.leave()
    saved = await other.ledger.checkpoint(FEED)
    assert saved.watermark == NOON
    assert len(saved.open_executions) > 5000
    assert min(saved.open_executions.values()) == min(opened.values())
    assert saved.open_executions.items() <= opened.items()
    (line,) = [line for line in lines if line["event"] == "checkpoint shortened to the size of an item"]
    assert (line["feed"], line["open_executions"], line["saved"]) == (str(FEED), 12_000, len(saved.open_executions))


@pytest.mark.parametrize("feed", [Feed("w" * 3000, None), Feed("w", "u" * 3000), Feed("\0", "3:"), Feed("0:", None)])
async def test_ids_longer_than_a_key_are_recorded(table: SharedTable, feed: Feed) -> None:
    member = await table.member()
    ids = ["e" * 5000, " ", "\0", "é"]
    assert await member.record(*ids, feed=feed) == len(ids)
    assert set(await member.claim()) == set(ids)
    assert [each.feed for each in await member.ledger.feeds()] == [feed]
    await member.beat()
    assert await table.verify() == Counters(recorded=len(ids), pending=len(ids))


async def test_journal_of_many_pages_is_taken_over(table: SharedTable) -> None:
    member, heir = await table.member(), await table.member()
    await member.ledger.add_feeds({FEED: Checkpoint()})
    ids = [f"e-{number}" for number in range(12)]
    large = [replace(entry(each), detail=b'"%s"' % token_hex(400_000).encode()) for each in ids]
    assert await member.ledger.record(FEED, large, now=NOON) == len(ids)
    await member.kill()
    await heir.take_over_dead()
    details = {execution_id: each.entry.detail for execution_id, each in (await heir.claim()).items()}
    assert details == {each.execution_id: each.detail for each in large}


async def test_counts_of_a_busy_day_are_saved(table: SharedTable) -> None:
    """A process that sends all day has lags of many lengths in each minute."""
    member, other = await table.member(), await table.start()
    counts = TrafficCounts()
    for minute in range(24 * 60 - 1):
        lags = [timedelta(microseconds=MIN_LAG_MICROSECONDS * STEP_RATIO**step) for step in range(40, 90)]
        now = NOON - timedelta(minutes=minute)
        counts.count_sent([(now - lag, False) for lag in lags], now)
    member.ledger.add_traffic(counts)
    member.ledger.set_now(NOON + timedelta(minutes=2))
    await member.beat()
    expected = await member.ledger.traffic(now=NOON + timedelta(minutes=2))
    found = await other.ledger.traffic(now=NOON + timedelta(minutes=2))
    assert (found.minutes, found.lag) == (expected.minutes, expected.lag)
    assert len(found.minutes) > 1400


async def test_list_of_the_newest_reads_no_journals_of_ended_members(table: SharedTable) -> None:
    """The status page lists the newest entries every second, and each start of a process leaves a journal."""
    ended_at = NOON - timedelta(hours=1)
    for number in range(10):
        ended = await table.member()
        ended.ledger.set_now(ended_at)
        await ended.ledger.add_feeds({FEED: Checkpoint()})
        await ended.ledger.record(FEED, [entry(f"old-{number}")], now=ended_at)
        await ended.leave()
    member = await table.member()
    for number in range(5):
        await member.record(f"new-{number}")
    before = member.proxy.count
    page = await member.ledger.entries(EntryFilter(), 3)
    assert [each.entry.execution_id for each in page.entries] == ["new-4", "new-3", "new-2"]
    assert member.proxy.count - before < 8
    ids = []
    while page.next is not None:
        page = await member.ledger.entries(EntryFilter(), 3, before=page.next)
        ids += [each.entry.execution_id for each in page.entries]
    assert ids[:2] == ["new-1", "new-0"]
    assert sorted(ids[2:]) == sorted(f"old-{number}" for number in range(10))
