"""A process that ends writes heartbeats until its last requests are settled. Its feeds have new owners meanwhile."""

import asyncio

import pytest

from forwarder.errors import LedgerUnavailable
from forwarder.ledger import Counters
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from forwarder.model import Checkpoint
from tests.factories import FEED
from tests.harness.dynamodb_faults import FAILED, PASS, Fault, Hold, Request
from tests.ledger.fleet_table import BUS, Process, SharedTable
from tests.virtual_clock import NOON
from tests.waiting import until

pytestmark = pytest.mark.dynamodb


SETTLE_SECONDS = 0.5
"""The time in which a take-over that goes on would adopt an entry."""


async def drain_beside(draining: Process, other: Process) -> None:
    """Write heartbeats of both for longer than a dead member is given."""
    for _ in range(2 * MISSED_HEARTBEATS):
        await draining.ledger.keep_alive()
        await other.beat()


async def test_draining_member_is_not_taken_over(table: SharedTable) -> None:
    """It settles its request in flight, and what is pending is adopted when it leaves."""
    draining, other = await table.member(), await table.member()
    await draining.record("in flight", "pending")
    token = (await draining.tokens())["in flight"]
    await drain_beside(draining, other)
    assert await other.claim() == {}
    await draining.send(token)
    await draining.leave()
    await other.beat()
    assert set(await other.claim()) == {"pending"}
    assert await table.verify() == Counters(recorded=2, pending=1, sent=1)


async def test_feeds_of_a_draining_member_are_assigned_to_others(table: SharedTable) -> None:
    """Their checkpoints are saved first. The draining member is one of the fleet again if it goes on."""
    draining, other = await table.member(), await table.member()
    await draining.ledger.add_feeds({FEED: Checkpoint()})
    await draining.ledger.record(FEED, [], now=NOON, checkpoint=Checkpoint(watermark=NOON))
    await draining.ledger.keep_alive()
    fleet = await other.ledger.beat()
    assert [each.id for each in fleet.members] == [other.member_id]
    assert fleet.is_own(FEED)
    assert (await other.ledger.checkpoint(FEED)).watermark == NOON
    assert len((await draining.ledger.beat()).members) == 2
    assert len((await other.ledger.beat()).members) == 2


async def test_member_that_gives_up_its_feeds_takes_over_and_delivers(table: SharedTable) -> None:
    """Its checkpoints are saved first. It is neither dead nor draining."""
    before, giving = await table.member(), await table.member()
    await before.record("a")
    await before.kill()
    await giving.ledger.add_feeds({FEED: Checkpoint()})
    while not (await giving.ledger.beat()).is_own(FEED):
        pass
    await giving.read_feed()
    giving.ledger.give_up_feeds()
    await giving.take_over_dead()
    assert set(await giving.claim()) == {"a"}
    other = await table.member()
    fleet = await other.ledger.beat()
    assert [each.id for each in fleet.members] == [other.member_id]
    assert (await other.ledger.checkpoint(FEED)).watermark == NOON


async def test_process_without_feeds_joins_without_a_share(table: SharedTable) -> None:
    delivering, other = await table.start(), await table.start()
    delivering.ledger.give_up_feeds()
    await delivering.beat()
    assert [each.id for each in (await other.ledger.beat()).members] == [other.member_id]


async def test_draining_member_takes_nobody_over(table: SharedTable) -> None:
    """A take-over that has begun is given up, and the other member makes it."""
    dying, draining = await table.member(), await table.member()
    await dying.record("a")
    dying_id = dying.member_id
    await dying.kill()
    draining.proxy.plan = taking_over = Hold(lambda request: request.writes("j#"))
    draining.ledger.set_heartbeat_seconds(2.0)  # the heartbeat does not wait for the take-over
    await draining.take_over_dead()
    assert taking_over.reached.is_set()
    await draining.ledger.keep_alive()
    taking_over.release()
    await asyncio.sleep(SETTLE_SECONDS)
    (execution,) = [item for key, item in (await draining.ledger.all_items()).items() if key.p.startswith("x#")]
    assert execution["o"].startswith(f"{dying_id}/")
    other = await table.member()
    await drain_beside(draining, other)
    assert set(await other.claim()) == {"a"}
    assert await table.verify() == Counters(recorded=1, pending=1)


async def test_draining_member_that_is_taken_over_does_not_join_again(table: SharedTable) -> None:
    draining, other = await table.member(), await table.member()
    await draining.record("a")
    token = (await draining.tokens())["a"]
    await other.take_over_dead()
    for _ in range(2):
        await draining.ledger.keep_alive()
    await draining.send(token)
    assert [each.id for each in (await other.ledger.beat()).members] == [other.member_id]


async def test_process_that_never_joined_writes_no_heartbeat(table: SharedTable) -> None:
    process = await table.start()
    await process.ledger.keep_alive()
    assert (await process.ledger.members()).members == ()


async def test_failed_heartbeat_of_a_draining_member_is_an_outage(table: SharedTable) -> None:
    def refuse_heartbeats(request: Request) -> Fault:
        return FAILED if request.writes("m") else PASS

    draining = await table.member()
    draining.proxy.plan = refuse_heartbeats
    with pytest.raises(LedgerUnavailable):
        await draining.ledger.keep_alive()
    assert await draining.ledger.saved_switch() is True
    draining.proxy.plan = lambda _: PASS
    await draining.ledger.keep_alive()
    assert await draining.ledger.saved_switch() is True


async def test_take_over_that_is_cancelled_ends_no_heartbeat(table: SharedTable) -> None:
    """The heir drains while it journals a sent event whose bus is not verified, and is enabled again."""
    dying, heir = await table.member(), await table.member()
    await heir.beat()
    await dying.ledger.save_bus_verified(BUS, 0)
    await dying.record("a")
    await dying.send((await dying.tokens())["a"])
    await dying.kill()
    await heir.beat()
    heir.proxy.plan = hold = Hold(lambda request: request.writes(f"j#{heir.member_id}"))
    taking_over = asyncio.create_task(heir.take_over_dead())
    await hold.reached.wait()
    taking_over.cancel()
    await heir.ledger.keep_alive()
    hold.release()
    await asyncio.sleep(SETTLE_SECONDS)
    await heir.take_over_dead()
    assert await heir.ledger.unverified_buses() == [BUS]
    assert await table.verify() == Counters(recorded=1, sent=1)


async def test_feeds_of_a_slowly_leaving_member_are_assigned_to_others(table: SharedTable) -> None:
    """Writing thousands of checkpoints takes longer than a heartbeat, and nobody would poll the feeds meanwhile."""
    leaving, other = await table.member(), await table.member()
    await leaving.ledger.add_feeds({FEED: Checkpoint()})
    await leaving.ledger.record(FEED, [], now=NOON, checkpoint=Checkpoint(watermark=NOON))
    leaving.ledger.set_heartbeat_seconds(0.05)
    leaving.proxy.plan = saving = Hold(lambda request: request.writes("f#"))
    left = asyncio.create_task(leaving.leave())
    await saving.reached.wait()
    member = leaving.ledger.membership
    beats = member.beats
    await until(lambda: member.beats > beats)
    assert len((await other.ledger.beat()).members) == 1
    assert not left.done()
    saving.release()
    await left
    assert (await other.ledger.checkpoint(FEED)).watermark == NOON
