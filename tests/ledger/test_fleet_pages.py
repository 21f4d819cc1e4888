"""The pages of a list, read from journals that are longer than what one page reads."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from forwarder.event_search import search
from forwarder.ledger import EntryFilter, Sent
from forwarder.ledger.dynamodb import pages
from forwarder.model import Checkpoint, Feed
from tests.factories import FEED, entry
from tests.ledger.fleet_table import BUS, Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

MAX_ITEMS = 20
"""The items that a page reads here."""

SECOND = timedelta(seconds=1)
OTHER = Feed("other")


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_LISTED_ITEMS", MAX_ITEMS)


async def record_each(process: Process, names: list[str], start: datetime, *, feed: Feed = FEED) -> None:
    """Record one failure after the other, one each second, so that each has a journal item of its own."""
    await process.ledger.add_feeds({feed: Checkpoint()})
    for number, name in enumerate(names):
        at = start + number * SECOND
        assert await process.ledger.record(feed, [entry(name, feed=feed)], now=at) == 1


async def pages_of(process: Process, matching: EntryFilter, limit: int) -> AsyncIterator[list[str]]:
    position = None
    while True:
        page = await process.ledger.entries(matching, limit, before=position)
        yield [each.entry.execution_id for each in page.entries]
        if page.next is None:
            return
        assert page.next != position, "it goes on"
        position = page.next


@pytest.mark.parametrize("limit", [7, 50])
async def test_all_pages_have_each_entry_once(table: SharedTable, limit: int) -> None:
    """Two processes recorded at the same time, one of them much more often."""
    often, seldom = await table.member(), await table.member()
    names = [f"often-{number:03}" for number in range(120)]
    await record_each(often, names, NOON)
    for number in range(0, 120, 30):
        await record_each(seldom, [f"seldom-{number:03}"], NOON + number * SECOND + SECOND / 2)
    await seldom.beat()
    await often.leave()
    reader = await table.start()
    found = [name async for page in pages_of(reader, EntryFilter(), limit) for name in page]
    expected: list[str] = []
    for number in range(120):
        expected += [f"often-{number:03}", *([f"seldom-{number:03}"] if number % 30 == 0 else [])]
    assert found == expected[::-1]


async def test_sparse_matches_are_found_on_later_pages(table: SharedTable) -> None:
    """A page without a match says where the next one begins."""
    member = await table.member()
    await record_each(member, ["first"], NOON, feed=OTHER)
    await record_each(member, [f"e-{number}" for number in range(50)], NOON + SECOND)
    matching = EntryFilter(workflow_id=OTHER.workflow_id)
    assert [page async for page in pages_of(member, matching, 10)] == [[], [], ["first"]]
    result = await search(member.ledger, matching)
    assert (list(result.entries), result.is_truncated) == ([], True)


async def test_entries_before_a_time_are_found_at_once(table: SharedTable) -> None:
    """The hint of a search that was truncated names this filter."""
    member = await table.member()
    await record_each(member, [f"e-{number:03}" for number in range(100)], NOON)
    matching = EntryFilter(recorded_to=NOON + 10 * SECOND)
    assert [page async for page in pages_of(member, matching, 100)] == [
        [f"e-{number:03}" for number in range(10)][::-1]
    ]


async def test_page_ends_at_the_beginning_of_a_period(table: SharedTable) -> None:
    member = await table.member()
    await record_each(member, [f"e-{number:03}" for number in range(60)], NOON)
    matching = EntryFilter(recorded_from=NOON + 50 * SECOND)
    assert [len(page) async for page in pages_of(member, matching, 100)] == [10]


async def test_replays_and_adopted_entries_do_not_end_a_list(table: SharedTable) -> None:
    """The entries that a journal has from other journals have their times."""
    first, heir = await table.member(), await table.member()
    await heir.beat()
    names = [f"e-{number:03}" for number in range(40)]
    await record_each(first, names, NOON)
    tokens = await first.tokens(after=timedelta(minutes=1))
    settlements = [Sent(tokens[name], "event") for name in names[:20]]
    await first.ledger.settle(settlements, now=NOON, bus=BUS)
    await first.kill()
    await heir.take_over_dead()
    late = [f"l-{number:03}" for number in range(40)]
    await record_each(heir, late[:20], NOON + 100 * SECOND)
    for name in names[:10]:
        assert await heir.ledger.replay_executions([name], now=NOON) == 1
    await record_each(heir, late[20:], NOON + 200 * SECOND)
    found = [name async for page in pages_of(heir, EntryFilter(), 9) for name in page]
    assert found == [*late[::-1], *names[::-1]]


async def test_list_goes_on_before_items_without_times(table: SharedTable) -> None:
    """Replays and renewals have no times of their own. There may be more of them than a page reads."""
    member = await table.member()
    names = [f"e-{number:03}" for number in range(30)]
    await record_each(member, names, NOON)
    tokens = await member.tokens(after=timedelta(minutes=1))
    await member.ledger.settle([Sent(tokens[name], "event") for name in names], now=NOON, bus=BUS)
    member.ledger.set_now(NOON + timedelta(minutes=2))
    for name in names[:25] * 2:
        if await member.ledger.replay_executions([name], now=NOON + timedelta(minutes=2)):
            token = (await member.tokens(after=timedelta(minutes=3)))[name]
            await member.ledger.settle([Sent(token, "event")], now=NOON, bus=BUS)
    await record_each(member, ["late"], NOON + timedelta(minutes=3))
    found = [name async for page in pages_of(member, EntryFilter(), 9) for name in page]
    assert found == ["late", *names[::-1]]


async def test_list_goes_on_before_a_clock_that_was_set_back(table: SharedTable) -> None:
    member = await table.member()
    await record_each(member, [f"e-{number:03}" for number in range(60)], NOON)
    await record_each(member, [f"l-{number:03}" for number in range(60)], NOON + 20 * SECOND)
    found = [name async for page in pages_of(member, EntryFilter(), 9) for name in page]
    assert found[:9] == [f"l-{number:03}" for number in range(59, 50, -1)]
    assert found[-20:] == [f"e-{number:03}" for number in range(19, -1, -1)]
