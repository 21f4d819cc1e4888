"""A table that is deleted and created again, or restored, while processes use it.

Report: the lease table of a Kinesis application disappears while it runs,
https://github.com/awslabs/amazon-kinesis-client/issues/414.
"""

from datetime import timedelta

import pytest

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger import Counters
from forwarder.ledger.dynamodb.schema import feed_key, member_key, table_definition
from forwarder.model import Checkpoint
from tests.factories import FEED, entry
from tests.harness.dynalite import running_dynalite
from tests.harness.dynamodb_faults import LOSE_REPLY, PASS, THROTTLED, Fault, execute
from tests.ledger.fleet_table import SharedTable, client
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb


async def create_again(table: SharedTable) -> None:
    """Delete the table, and create it again."""
    async with client(running_dynalite().endpoint_url) as sdk:
        await sdk.delete_table(TableName=table.name)
        await sdk.get_waiter("table_not_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1})
        await sdk.create_table(**table_definition(table.name))
        await sdk.get_waiter("table_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1})


async def test_table_that_is_created_again_gets_all_that_is_listed(table: SharedTable) -> None:
    """The ids that were known are not known in the new table."""
    member = await table.member()
    assert await member.record("a", "b") == 2
    async with client(running_dynalite().endpoint_url) as sdk:
        await sdk.delete_table(TableName=table.name)
        await sdk.get_waiter("table_not_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1})
        with pytest.raises(LedgerUnavailable, match="does not exist"):
            await member.beat()
        await sdk.create_table(**table_definition(table.name))
    await member.beat()
    assert await member.record("a", "b") == 2
    assert set(await member.claim()) == {"a", "b"}
    await member.beat()
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_feeds_are_added_to_a_table_that_is_created_again(table: SharedTable) -> None:
    """A daemon adds its feeds at the start only. They are read from their floors on."""
    member = await table.member()
    await member.record("a")
    floor = NOON - timedelta(days=1)
    await member.ledger.record(FEED, [], now=NOON, checkpoint=Checkpoint(NOON, floor=floor, full_scan_at=NOON))
    await create_again(table)
    await member.beat()
    assert await member.ledger.checkpoint(FEED) == Checkpoint(floor=floor)


async def test_failure_recorded_before_the_next_heartbeat_is_delivered(table: SharedTable) -> None:
    """A process records in a table that was created again, and its next heartbeat finds that it is unknown there."""
    member = await table.member()
    assert await member.record("a") == 1
    await member.beat()
    await create_again(table)
    assert await member.ledger.record(FEED, [entry("b")], now=NOON) == 1
    await member.beat()
    assert set(await member.claim()) == {"b"}
    assert await table.verify() == Counters(recorded=1, pending=1)


@pytest.mark.parametrize("writes", ["f#", "j#", "m"])
@pytest.mark.parametrize("fault", [LOSE_REPLY, THROTTLED])
async def test_beginning_in_a_new_table_is_repeated(table: SharedTable, writes: str, fault: Fault) -> None:
    member = await table.member()
    await member.record("a")
    await member.beat()
    await create_again(table)
    assert await member.ledger.record(FEED, [entry("b")], now=NOON) == 1
    member.proxy.plan = lambda request: fault if request.operation == "PutItem" and request.writes(writes) else PASS
    with pytest.raises(LedgerUnavailable):
        await member.beat()
    member.proxy.plan = execute
    await member.beat()
    await member.ledger.checkpoint(FEED)
    assert set(await member.claim()) == {"b"}
    assert await table.verify() == Counters(recorded=1, pending=1)


async def test_item_of_a_member_that_was_taken_over_stays_deleted(table: SharedTable) -> None:
    """It was paused for so long that its heir has forgotten it."""
    paused, heir = await table.member(), await table.member()
    await paused.record("a")
    name = paused.member_id
    await heir.beat()
    await heir.take_over_dead()
    await heir.ledger.delete_item(member_key(name))
    await paused.beat()
    assert paused.member_id != name
    assert member_key(name) not in await heir.ledger.all_items()
    assert set(await heir.claim()) == {"a"}


async def test_restored_table_gets_all_that_is_listed(table: SharedTable) -> None:
    """The member, and what it recorded, are not in the restored table."""
    member = await table.member()
    assert await member.record("a", "b") == 2
    for key in await member.ledger.all_items():
        if key.p.startswith(("x#", "j#")) or key == member_key(member.member_id):
            await member.ledger.delete_item(key)
    await member.beat()
    assert await member.record("a", "b") == 2
    assert set(await member.claim()) == {"a", "b"}
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_table_restored_to_a_later_time_gets_all_that_is_listed(table: SharedTable) -> None:
    """The member is in the restored table, with an earlier heartbeat, and what it recorded since is not."""
    member = await table.member()
    assert await member.record("a") == 1
    await member.beat()
    earlier = await member.ledger.all_items()
    await member.beat()
    assert await member.record("b") == 1
    for key in await member.ledger.all_items():
        await member.ledger.delete_item(key)
    for key, item in earlier.items():
        await member.ledger.put_item(key, item)
    before = member.member_id
    await member.beat()
    assert member.member_id != before
    assert await member.record("a", "b") == 1
    await member.take_over_dead()
    assert set(await member.claim()) == {"a", "b"}
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_feed_of_the_old_table_is_not_marked_in_the_new_one(table: SharedTable) -> None:
    """The feeds are saved as not watched after the table was created again."""
    member = await table.member()
    assert await member.record("a") == 1
    await member.read_feed()
    for key in await member.ledger.all_items():
        await member.ledger.delete_item(key)
    await member.ledger.save_watched([])
    assert feed_key(FEED) not in await member.ledger.all_items()
    await member.beat()
    assert await member.ledger.feeds() == []


async def test_feed_without_a_checkpoint_is_added_again(table: SharedTable) -> None:
    member = await table.member()
    await member.ledger.put_item(feed_key(FEED), {"wa": 0})
    assert await member.ledger.feeds() == []
    with pytest.raises(LedgerError, match="has no feed"):
        await member.ledger.checkpoint(FEED)
    assert await member.record("a") == 1
    assert [(each.feed, each.watched) for each in await member.ledger.feeds()] == [(FEED, True)]


async def test_foreign_item_among_the_members_is_ignored(table: SharedTable) -> None:
    first = await table.member()
    await first.ledger.put_item(member_key("note"), {"text": "of a person"})
    second = await table.member()
    assert len((await first.ledger.beat()).members) == len((await second.ledger.beat()).members) == 2
    assert await table.verify() == Counters()
