"""The observation of other members by their heartbeats."""

import asyncio

import pytest

from forwarder.clock import SystemClock
from forwarder.errors import LedgerUnavailable
from forwarder.feed_handover import FeedHandover
from forwarder.fleet_watch import FleetWatch
from forwarder.health import Health
from forwarder.ledger import Counters
from forwarder.ledger.dynamodb import member_list
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from tests.harness.dynamodb_faults import FAILED, PASS, Fault, Hold, Request, execute
from tests.ledger.fleet_table import Process, SharedTable

pytestmark = pytest.mark.dynamodb


async def test_reloads_in_a_row_end_no_member(table: SharedTable) -> None:
    """Each reload of the settings writes a heartbeat at once, and the others have written none meanwhile."""
    member, reloading = await table.member(), await table.member()
    name = member.member_id
    reloading.ledger.observes_each_heartbeat = False
    await reloading.beat(20)
    await member.beat()
    assert member.member_id == name
    assert len((await reloading.ledger.beat()).members) == 2


async def test_process_with_a_longer_interval_is_not_taken_over(
    table: SharedTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interval is changed in a rolling update: for a while, the processes have different ones."""
    monkeypatch.setattr(member_list, "OBSERVATION_SHARE", 0.0)
    slow, fast = await table.member(), await table.member()
    name = slow.member_id
    fast.ledger.set_heartbeat_seconds(10)
    fast.ledger.observes_each_heartbeat = False
    await fast.beat(25)  # four intervals of the other
    await slow.beat()
    assert slow.member_id == name
    await slow.kill()
    await fast.beat(35)
    assert "gone" in await fast.ledger.member_item(name)


async def silent(process: Process) -> list[str]:
    """Write a heartbeat, and return the silent members."""
    return [each.id for each in (await process.ledger.beat()).silent]


async def test_killed_member_is_silent_until_it_is_taken_over(table: SharedTable) -> None:
    killed, late = await table.member(), await table.start()
    await killed.record("a")
    name = killed.member_id
    await killed.kill()
    for _ in range(MISSED_HEARTBEATS):
        assert await silent(late) == [name]
    assert await silent(late) == []
    assert set(await late.claim()) == {"a"}
    assert await table.verify() == Counters(recorded=1, pending=1)


async def test_living_member_is_silent_until_its_next_heartbeat(table: SharedTable) -> None:
    living, late = await table.member(), await table.start()
    assert await silent(late) == await silent(late) == [living.member_id]
    await living.beat()
    assert await silent(late) == []
    newer = await table.member()
    assert await silent(late) == [], "it was alive after the other has joined"
    await newer.kill()
    assert await silent(late) == []


async def test_member_that_left_is_not_silent(table: SharedTable) -> None:
    """A pass takes over the pass before at once, and need not wait."""
    before = await table.member()
    await before.record("a")
    await before.leave()
    late = await table.start()
    assert await silent(late) == []
    assert set(await late.claim()) == {"a"}


async def test_heirs_that_were_killed_keep_no_entries(table: SharedTable) -> None:
    """Members left, and their entries were assigned to others that have been killed since."""
    ids = [f"e-{number}" for number in range(6)]
    for execution_id in ids:
        process = await table.start()
        await process.record(execution_id)
        await process.leave()
    for _ in range(3):
        killed = await table.start()
        killed.proxy.plan = lambda request: FAILED if request.writes("j#") else PASS
        await killed.beat()
        await killed.kill()
    late = await table.member()
    while await silent(late):
        pass
    assert sorted(await late.claim()) == ids
    assert await table.verify() == Counters(recorded=len(ids), pending=len(ids))


async def test_member_stays_silent_while_its_take_over_fails(table: SharedTable) -> None:
    killed, late = await table.member(), await table.start()
    await killed.record("a")
    name = killed.member_id
    await killed.kill()

    def refuse_seals(request: Request) -> Fault:
        return FAILED if request.writes(f"j#{name}") else PASS

    late.proxy.plan = refuse_seals
    for _ in range(2 * MISSED_HEARTBEATS):
        assert await silent(late) == [name]
    late.proxy.plan = execute
    assert await silent(late) == []
    assert set(await late.claim()) == {"a"}


async def test_join_whose_observation_fails_does_not_count_as_alone(table: SharedTable) -> None:
    """It would poll the feeds of all with the whole request limit."""
    one, _ = await table.member(), await table.member()
    joining = await table.start()
    joining.proxy.plan = lambda request: FAILED if request.operation == "Query" else PASS
    with pytest.raises(LedgerUnavailable):
        await joining.beat()
    joining.proxy.plan = execute
    assert (await joining.ledger.beat()).size == 3
    assert one.member_id in {each.id for each in (await joining.ledger.members()).members}


async def test_heartbeats_of_a_process_at_the_same_moment_are_counted(table: SharedTable) -> None:
    """`once` writes one beside those of its loop. The next one must not look like that of a member with an heir."""
    process, clock = await table.start(), SystemClock()
    health = Health(clock.now)
    handover = FeedHandover(process.ledger, clock, health)
    watch = FleetWatch(process.ledger, 60.0, clock, health, handover, lambda _: None)
    await watch.beat()
    joined = process.member_id
    process.proxy.plan = hold = Hold(lambda request: request.writes("m"))
    beats = [asyncio.create_task(watch.beat()) for _ in range(2)]
    await hold.reached.wait()
    await asyncio.sleep(0.1)
    hold.release()
    await asyncio.gather(*beats)
    await watch.beat()
    assert process.member_id == joined
