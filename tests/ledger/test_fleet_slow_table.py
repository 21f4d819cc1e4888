"""A table that is slow or throttled delays no heartbeat, and what could not be recorded is not journaled again.

Reports: Kinesis clients lose their leases when the renewals wait behind other requests or when the table is throttled,
https://github.com/awslabs/amazon-kinesis-client/issues/677 and https://github.com/vmware-archive/vmware-go-kcl/issues/77.
"""

import asyncio
from datetime import timedelta

import pytest

from forwarder.errors import LedgerUnavailable
from forwarder.ledger import Counters
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from forwarder.ledger.dynamodb.table import MAX_CONCURRENT_REQUESTS
from forwarder.model import Checkpoint, Feed
from tests.harness.dynamodb_faults import PASS, THROTTLED, Fault, Hold, Plan, Request, execute
from tests.ledger.fleet_table import BUS, Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

HEARTBEAT_SECONDS = 0.4


def executions(fault: Fault) -> Plan:
    return lambda request: fault if request.writes("x#") else PASS


class HoldAll(Hold):
    """A plan that holds all matching requests."""

    def __call__(self, request: Request) -> Fault:
        if not self._matches(request):
            return PASS
        self.reached.set()
        return Fault(waits_for=self._released)


async def throttled(member: Process, *ids: str) -> None:
    """Try to record while the items of executions are throttled."""
    member.proxy.plan = executions(THROTTLED)
    with pytest.raises(LedgerUnavailable):
        await member.record(*ids)


async def test_heartbeat_overtakes_the_requests_of_a_large_recording(table: SharedTable) -> None:
    member = await table.member()
    ids = [f"e-{number}" for number in range(MAX_CONCURRENT_REQUESTS + 10)]
    member.proxy.plan = hold = HoldAll(lambda request: request.writes("x#"))
    recording = asyncio.create_task(member.record(*ids))
    await hold.reached.wait()
    async with asyncio.timeout(5):
        await member.beat(2)
    hold.release()
    assert await recording == len(ids)
    await member.beat()
    assert await table.verify() == Counters(recorded=len(ids), pending=len(ids))


async def test_heartbeat_does_not_wait_for_slow_transitions(table: SharedTable) -> None:
    member, other = await table.member(), await table.member()
    member.ledger.set_heartbeat_seconds(HEARTBEAT_SECONDS)
    await throttled(member, "a", "b")
    member.proxy.plan = hold = HoldAll(lambda request: request.writes("x#"))
    for _ in range(8):  # more than those after which the other would take over
        async with asyncio.timeout(5):
            await member.beat()
        await other.beat()
    assert hold.reached.is_set()
    hold.release()
    assert len((await other.ledger.beat()).members) == 2
    member.ledger.set_heartbeat_seconds(60)
    await member.beat()
    assert set(await member.claim()) == {"a", "b"}
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_heartbeat_does_not_wait_for_slow_checkpoints(table: SharedTable) -> None:
    member = await table.member()
    member.ledger.set_heartbeat_seconds(HEARTBEAT_SECONDS)
    await member.record("a")
    await member.read_feed()
    member.proxy.plan = hold = HoldAll(lambda request: request.writes("f#"))
    async with asyncio.timeout(5):
        await member.beat(3)
    assert hold.reached.is_set()
    await member.leave()


async def test_heartbeat_does_not_wait_for_slow_counts(table: SharedTable) -> None:
    member = await table.member()
    member.ledger.set_heartbeat_seconds(HEARTBEAT_SECONDS)
    await member.record("a")
    member.ledger.set_now(NOON + timedelta(hours=1))  # the counts of an hour ago are due
    member.proxy.plan = hold = HoldAll(lambda request: request.writes("t"))
    async with asyncio.timeout(5):
        await member.beat(3)
    assert hold.reached.is_set()
    hold.release()
    await member.leave()


async def test_throttled_recording_is_journaled_once(table: SharedTable) -> None:
    member = await table.member()
    for _ in range(3):
        await throttled(member, "a", "b")
    assert len(member.ledger.membership.unresolved) == 2
    member.proxy.plan = execute
    assert await member.record("a", "b", "c") == 3
    assert not member.ledger.membership.unresolved
    await member.beat()
    assert set(await member.claim()) == {"a", "b", "c"}
    assert await table.verify() == Counters(recorded=3, pending=3)


async def test_throttled_recording_survives_its_process(table: SharedTable) -> None:
    member, heir = await table.member(), await table.member()
    await throttled(member, "a", "b")
    await member.kill()
    await heir.take_over_dead()
    assert set(await heir.claim()) == {"a", "b"}
    await heir.beat()
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_throttled_take_over_is_journaled_once(table: SharedTable) -> None:
    dying, heir = await table.member(), await table.member()
    await dying.record("a", "b")
    await dying.kill()
    await heir.beat()
    heir.proxy.plan = executions(THROTTLED)
    heir.ledger.set_heartbeat_seconds(30)
    await heir.beat(MISSED_HEARTBEATS + 3)
    assert len(heir.ledger.membership.unresolved) == 2
    heir.proxy.plan = execute
    await heir.beat(2)
    assert set(await heir.claim()) == {"a", "b"}
    await heir.beat()
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_throttled_requeue_is_journaled_once(table: SharedTable) -> None:
    member = await table.member()
    await member.ledger.save_bus_verified(BUS, 0)
    await member.record("a", "b")
    for token in (await member.tokens()).values():
        await member.send(token)
    member.proxy.plan = executions(THROTTLED)
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            await member.ledger.requeue(BUS, now=NOON)
    assert len(member.ledger.membership.unresolved) == 2
    member.proxy.plan = execute
    await member.ledger.requeue(BUS, now=NOON)
    assert set(await member.claim()) == {"a", "b"}
    await member.beat()
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_take_over_waits_for_its_own_slow_adoptions(table: SharedTable) -> None:
    """A heartbeat makes the adoptions that were throttled, while the take-over is attempted again.

    A settlement of the paused owner that arrives before them must be counted.
    """
    paused, heir = await table.member(), await table.member()
    await paused.record("a")
    token, name = (await paused.tokens())["a"], paused.member_id
    heir.proxy.plan = executions(THROTTLED)
    with pytest.raises(LedgerUnavailable):
        await heir.ledger.take_over(name)
    heir.ledger.set_heartbeat_seconds(HEARTBEAT_SECONDS)
    heir.proxy.plan = hold = HoldAll(lambda request: request.writes("x#"))
    heartbeat = asyncio.create_task(heir.beat())
    await hold.reached.wait()
    with pytest.raises(LedgerUnavailable, match="still being adopted"):
        await heir.ledger.take_over(name)
    await paused.send(token)
    hold.release()
    await heartbeat
    await heir.ledger.take_over(name)
    assert await table.verify() == Counters(recorded=1, sent=1)


async def test_throttled_checkpoints_hide_no_change_of_the_fleet(table: SharedTable) -> None:
    """A process that joins gets its feeds, and the others learn of it, before their checkpoints are saved."""
    member, feeds = await table.member(), [Feed(f"w-{number}") for number in range(20)]
    await member.ledger.add_feeds(dict.fromkeys(feeds, Checkpoint()))
    for feed in feeds:
        await member.read_feed(feed)
    other = await table.member()
    member.proxy.plan = lambda request: THROTTLED if request.writes("f#") else PASS
    fleet = await member.ledger.beat()
    assert {each.id for each in fleet.members} == {member.member_id, other.member_id}
    assert not all(fleet.is_own(feed) for feed in feeds)
