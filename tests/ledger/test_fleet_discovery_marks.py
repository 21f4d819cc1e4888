"""The marks of watched feeds in the table, by which processes know what the others have discovered.

A mark that is cleared wrongly is a feed that nobody polls.
"""

import asyncio
from datetime import timedelta

import pytest

from forwarder.errors import LedgerUnavailable
from forwarder.ledger import FeedStatus, shard_of
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from forwarder.ledger.dynamodb.schema import table_definition
from forwarder.model import Checkpoint, Feed
from tests.fakes.actions import HttpResponse
from tests.harness.dynalite import running_dynalite
from tests.harness.dynamodb_faults import FAILED, PASS, THROTTLED, execute
from tests.ledger.discoverers import USERS, Discoverer, Discoverers, beat, discoverers, unpolled
from tests.ledger.fleet_table import client
from tests.virtual_clock import NOON

__all__ = ["discoverers"]

pytestmark = pytest.mark.dynamodb


def fail_listings(discoverers: Discoverers, *users: str) -> None:
    """Let the requests for the workflows of these users fail."""
    discoverers.alloy.clear()
    discoverers.alloy.always(
        lambda request: HttpResponse(500, {}, b"{}") if request.query.get("userId") in users else None
    )


async def heir_of_a_killed_process(discoverers: Discoverers) -> tuple[Discoverer, set[str]]:
    """Return a process that took over, and users that the killed one had discovered and it does not know."""
    heir, killed = await discoverers.watching(2)
    late = discoverers.add_users(killed.watched.own_shards)
    await killed.discover()
    await killed.process.kill()
    for _ in range(MISSED_HEARTBEATS + 1):
        heir.watched.assign(await heir.process.ledger.beat())
    return heir, late


async def create_table_again(discoverers: Discoverers) -> None:
    async with client(running_dynalite().endpoint_url) as sdk:
        await sdk.delete_table(TableName=discoverers.table.name)
        while True:
            try:
                await sdk.create_table(**table_definition(discoverers.table.name))
                break
            except sdk.exceptions.ResourceInUseException:
                await asyncio.sleep(0.05)


async def test_process_that_cannot_read_clears_no_marks(discoverers: Discoverers) -> None:
    """It keeps its shards in its own view, and does not know what the others discover there."""
    sick, *others = await discoverers.watching(3)
    sick.process.ledger.set_cannot_read(cannot_read=True)
    for _ in range(2):
        await beat(sick, *others)
    late = discoverers.add_users(sick.watched.own_shards)
    for each in others:
        await each.discover()
    await beat(sick, *others)
    joined = await discoverers.start()
    await beat(joined, *others, sick)
    assert await unpolled(*others, joined) == set()
    assert {feed.user_id for feed in await joined.marked()} == {*USERS, *late}
    sick.process.ledger.set_cannot_read(cannot_read=False)
    for _ in range(3):
        await beat(sick, *others, joined)
    assert await unpolled(sick, *others, joined) == set()


async def test_process_that_joins_again_clears_no_marks(discoverers: Discoverers) -> None:
    """Another process had its shards meanwhile. Its next discovery may be hours away."""
    paused, heir = await discoverers.watching(2)
    await heir.beat(MISSED_HEARTBEATS + 1)
    late = discoverers.add_users(paused.watched.own_shards)
    await heir.discover()
    for _ in range(3):
        await beat(heir, paused)
    assert {feed.user_id for feed in await heir.marked()} == {*USERS, *late}
    assert await unpolled(paused, heir) == set()


@pytest.mark.parametrize("discovers", [True, False])
async def test_pass_beside_processes_clears_no_marks(discoverers: Discoverers, *, discovers: bool) -> None:
    """`once` polls every feed, and may have other settings or a moment in which users cannot be listed."""
    processes = await discoverers.watching(2)
    once = await discoverers.create("x", discover=discovers)
    fail_listings(discoverers, *USERS[:20])
    await once.process.beat()
    await once.watched.watch_configured()
    if discovers:
        await once.discover()
    await once.process.leave()
    await beat(*processes)
    await beat(*processes)
    assert {feed.user_id for feed in await processes[0].marked()} >= set(USERS)
    assert await unpolled(*processes) <= {""}, "the workflow of the pass is not theirs"


async def test_removed_feed_is_dropped_by_the_process_that_polls_it(discoverers: Discoverers) -> None:
    """Its own copy of the feed has the mark of when it was read."""
    owner, poller = await discoverers.watching(2)
    feed = next(each for each in poller.feeds if shard_of(each.user_id) in owner.watched.own_shards)
    ledger = poller.process.ledger
    await ledger.checkpoint(feed)
    for _ in range(2):  # the first checkpoint is written at once, and the second one is kept in memory
        await ledger.record(feed, [], now=NOON, checkpoint=Checkpoint(watermark=NOON, full_scan_at=NOON))
        await beat(poller)
    discoverers.alloy.always(
        lambda request: (
            HttpResponse(200, {}, b'{"success": true, "data": []}')
            if request.query.get("userId") == feed.user_id
            else None
        )
    )
    await owner.discover()
    await beat(owner, poller)
    assert feed not in poller.feeds


async def test_feed_of_a_killed_process_stays_without_a_listing(discoverers: Discoverers) -> None:
    """The heir has not read the list since the feed was added."""
    heir, late = await heir_of_a_killed_process(discoverers)
    fail_listings(discoverers, *late)
    for _ in range(2):
        await heir.discover()
        await heir.beat()
    assert set(heir.users) == {*USERS, *late}


async def test_feeds_of_a_new_table_are_polled(discoverers: Discoverers) -> None:
    processes = await discoverers.watching(3)
    await create_table_again(discoverers)
    for _ in range(3):
        await beat(*processes)
    assert {feed for each in processes for feed in each.feeds} == {Feed("w", user_id) for user_id in USERS}
    assert {feed.user_id for feed in await processes[0].marked()} == set(USERS)


async def test_announcement_that_fails_is_repeated(discoverers: Discoverers) -> None:
    one, two = await discoverers.watching(2)
    discoverers.add_users(one.watched.own_shards)
    one.process.proxy.plan = lambda request: THROTTLED if b"feeds_version" in request.body else PASS
    with pytest.raises(LedgerUnavailable):
        await one.discover()
    one.process.proxy.plan = execute
    await one.discover()
    await beat(one, two)
    assert await unpolled(one, two) == set()


async def test_feeds_of_a_new_table_keep_their_floors(discoverers: Discoverers) -> None:
    """The process that joins it first adds the feeds of the others, too. A failure of that time must be recorded."""
    names = [f"s-{number}" for number in range(8)]
    one, two = await discoverers.start(*names), await discoverers.start(*names)
    await beat(one, two)
    await beat(one, two)
    feeds = [each for each in two.feeds if each.workflow_id in names]
    before = {each: (await two.process.ledger.checkpoint(each)).local_floor for each in feeds}
    for process in (one, two):
        process.process.ledger.set_now(NOON + timedelta(hours=5))
        process.clock.jump(timedelta(hours=5))
    await create_table_again(discoverers)
    for _ in range(2):
        await beat(one, two)
    poller = {feed: process for process in (one, two) for feed in process.feeds}
    assert {each: (await poller[each].process.ledger.checkpoint(each)).local_floor for each in feeds} == before


async def test_join_during_a_refresh_drops_no_feed(discoverers: Discoverers, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = await discoverers.watching(2)
    await discoverers.start()
    before, read, fleet = set(one.feeds), one.process.ledger.feeds, await one.process.ledger.beat()

    async def read_beside_a_heartbeat() -> list[FeedStatus]:
        found = await read()
        one.watched.assign(fleet)
        return found

    monkeypatch.setattr(one.process.ledger, "feeds", read_beside_a_heartbeat)
    await one.watched.refresh()
    assert set(one.feeds) == {each for each in before if fleet.is_own(each)}


async def test_refresh_of_a_new_table_that_fails_is_repeated(discoverers: Discoverers) -> None:
    one, killed = await discoverers.watching(2)
    await killed.process.kill()
    await create_table_again(discoverers)
    one.watched.assign(await one.process.ledger.beat())
    one.process.proxy.plan = lambda request: THROTTLED if request.writes("f#") else PASS
    with pytest.raises(LedgerUnavailable):
        await one.watched.refresh()
    one.process.proxy.plan = execute
    await one.watched.refresh()
    assert one.users == sorted(USERS)


async def test_discovery_that_cannot_be_saved_clears_no_marks(discoverers: Discoverers) -> None:
    """Its shards do not count as discovered: this process does not know what their last process has added."""
    heir, late = await heir_of_a_killed_process(discoverers)
    heir.process.proxy.plan = lambda request: FAILED if request.operation == "BatchGetItem" else PASS
    with pytest.raises(LedgerUnavailable):
        await heir.discover()
    heir.process.proxy.plan = execute
    await heir.watched.save()
    assert {feed.user_id for feed in await heir.marked()} == {*USERS, *late}


async def test_feeds_stay_assigned_while_a_restart_cannot_read_them(discoverers: Discoverers) -> None:
    (one,) = await discoverers.watching(1)
    one.process.proxy.plan = lambda request: FAILED if request.operation == "Query" and b"f#" in request.body else PASS
    one.process.ledger.set_now(NOON + timedelta(hours=1))
    one.forget_list()
    with pytest.raises(LedgerUnavailable):
        await one.watched.restore()
    one.process.proxy.plan = execute
    await discoverers.start()
    fleet = await one.process.ledger.beat()
    one.watched.assign(fleet)
    assert {feed.user_id for feed in one.feeds} == {each for each in USERS if fleet.is_own(Feed("w", each))}
