"""The discovery of feeds by several processes: each lists its share of the users, and the table tells the others."""

import pytest

from forwarder.ledger import shard_of
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from tests.fakes.actions import HttpResponse
from tests.ledger.discoverers import USERS, Discoverers, discoverers
from tests.virtual_clock import NOON

__all__ = ["discoverers"]

pytestmark = pytest.mark.dynamodb


async def test_each_user_is_listed_by_one_process(discoverers: Discoverers) -> None:
    one, two = await discoverers.pair()
    await one.discover()
    listed_by_one = discoverers.listed_users()
    await two.discover()
    listed_by_two = discoverers.listed_users()
    assert sorted(listed_by_one + listed_by_two) == sorted(USERS)
    assert 10 <= len(listed_by_one) <= 30


async def test_process_polls_what_another_has_discovered(discoverers: Discoverers) -> None:
    one, two = await discoverers.pair()
    await one.discover()
    await two.beat()
    await two.discover()
    await one.beat()
    await two.beat()
    assert sorted(one.users + two.users) == sorted(USERS)
    discoverers.add_user("late")
    for each in (one, two):
        await each.discover()
    for each in (one, two):
        await each.beat()
    assert sorted(one.users + two.users) == sorted([*USERS, "late"])


async def test_removed_workflow_is_polled_by_nobody(discoverers: Discoverers) -> None:
    discoverers.alloy.api.add_workflow("removed")
    one, two = await discoverers.pair()
    await one.discover()
    await two.discover()
    await one.beat()
    await two.beat()
    assert sorted(one.users + two.users) == sorted([*USERS, *USERS])
    discoverers.alloy.api.remove_workflow("removed")
    await one.discover()
    await two.discover()
    await one.beat()
    await two.beat()
    assert sorted(one.users + two.users) == sorted(USERS)


async def test_users_of_a_killed_process_are_listed_by_another(discoverers: Discoverers) -> None:
    one, two = await discoverers.pair()
    await two.discover()
    await two.process.kill()
    await one.beat(MISSED_HEARTBEATS + 1)
    discoverers.listed_users()
    await one.discover()
    assert discoverers.listed_users() == sorted(USERS)
    assert one.users == sorted(USERS)


async def test_feeds_of_a_taken_shard_stay_watched_until_it_is_listed(discoverers: Discoverers) -> None:
    """The process that is taken over has added feeds a moment ago, which the other one does not know."""
    one = await discoverers.start()
    await one.discover()
    two = await discoverers.start()
    await one.beat()
    late = [f"late-{number}" for number in range(20)]
    for user_id in late:
        discoverers.add_user(user_id)
    discoverers.listed_users()
    await two.discover()
    added = {*discoverers.listed_users(), *USERS}
    await two.process.kill()
    for _ in range(MISSED_HEARTBEATS + 1):
        one.watched.assign(await one.process.ledger.beat())
    await one.watched.save()
    assert {feed.user_id for feed in await one.marked()} == added > set(USERS)
    await one.beat()
    assert set(one.users) == added


async def test_feed_keeps_the_time_of_the_discovery_of_its_shard(discoverers: Discoverers) -> None:
    """Another shard may have been discovered later, when this one was not: a new feed must start before that."""
    one, two = await discoverers.pair()
    await one.discover()
    times = {user: await one.process.ledger.discovered_at(shard_of(user)) for user in USERS}
    assert set(times.values()) == {NOON, None}
    assert {user for user, at in times.items() if at} == set(discoverers.listed_users())
    await two.discover()
    await two.process.beat()
    assert {await two.process.ledger.discovered_at(shard_of(user)) for user in USERS} == {NOON}


async def test_feeds_of_different_settings_stay_watched(discoverers: Discoverers) -> None:
    """While the processes of an update have different settings, neither knows all feeds."""
    new, old = await discoverers.start("w-2", "w-3"), await discoverers.start("w-1", "w-2")
    for name, process in (("old", old), ("new", new)):
        process.process.ledger.set_feed_group(name)
    for process in (old, new, old, new):
        await process.beat()
        await process.discover()
        await process.poll()
    assert {feed.workflow_id for feed in await old.marked()} >= {"w-1", "w-2", "w-3"}
    await old.process.leave()
    await new.beat(2)
    await new.discover()
    await new.poll()
    assert {each.workflow_id for each in await new.marked()} == {"w-2", "w-3", "w"}


async def test_feeds_of_a_user_that_cannot_be_listed_stay_watched(discoverers: Discoverers) -> None:
    """Also after a restart: the table knows them."""
    one = await discoverers.start()
    await one.discover()
    await one.process.leave()
    discoverers.alloy.always(
        lambda request: HttpResponse(500, {}, b"{}") if request.query.get("userId") == USERS[3] else None
    )
    two = await discoverers.start()
    await two.discover()
    assert two.users == sorted(USERS)
    assert {feed.user_id for feed in await two.marked()} == set(USERS)
