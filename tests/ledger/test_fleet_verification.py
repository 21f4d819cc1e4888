"""Events of a killed process that may not have arrived: its heir doubts those sent since the last check of the bus."""

import asyncio

import pytest

from forwarder.ledger import Counters
from tests.harness.dynamodb_faults import Hold, Request
from tests.ledger.fleet_table import BUS, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

ANOTHER_BUS = "eu-west-1/another"


def updates_execution(request: Request) -> bool:
    return request.operation == "UpdateItem" and request.writes("x#")


async def test_heir_doubts_an_event_sent_during_the_take_over(table: SharedTable) -> None:
    """The owner settles an entry after its heir read it and before the heir adopts it. Then the bus is missing."""
    dying, heir = await table.member(), await table.member()
    await heir.beat()
    await dying.ledger.save_bus_verified(BUS, 0)
    await dying.record("a")
    token = (await dying.tokens())["a"]
    heir.proxy.plan = adopting = Hold(updates_execution)
    taking_over = asyncio.create_task(heir.take_over_dead())
    await adopting.reached.wait()
    await dying.send(token)
    adopting.release()
    await taking_over
    assert await heir.ledger.unverified_buses() == [BUS]
    assert await heir.ledger.requeue(BUS, now=NOON) == 1
    assert await table.verify() == Counters(recorded=1, pending=1)


async def test_heir_does_not_doubt_what_a_verified_bus_accepted(table: SharedTable) -> None:
    """An entry that stays pending holds the mark, so that the heir reads all that was sent since."""
    dying, heir = await table.member(), await table.member()
    await heir.beat()
    await dying.ledger.save_bus_verified(BUS, 0)
    await dying.record("pending")
    await dying.record("arrived", "replayed", "unknown")
    tokens = await dying.tokens()
    await dying.send(tokens["arrived"])
    await dying.send(tokens["replayed"])
    await dying.ledger.save_bus_verified(BUS, await dying.ledger.last_settlement_seq())
    await dying.send(tokens["unknown"])
    assert await dying.ledger.replay_executions(["replayed"], now=NOON) == 1
    await dying.send((await dying.tokens())["replayed"])
    await dying.beat()
    await dying.kill()
    await heir.take_over_dead()
    assert await heir.ledger.requeue(BUS, now=NOON) == 2
    assert set(await heir.claim()) == {"pending", "replayed", "unknown"}
    assert await table.verify() == Counters(recorded=4, pending=3, sent=1)


async def test_second_heir_does_not_doubt_what_the_first_has_verified(table: SharedTable) -> None:
    dying, first, second = [await table.member() for _ in range(3)]
    await dying.ledger.save_bus_verified(BUS, 0)
    await dying.record("pending")
    await dying.record("sent")
    await dying.send((await dying.tokens())["sent"])
    dying_id, first_id = dying.member_id, first.member_id
    await dying.kill()
    await first.ledger.take_over(dying_id)
    await first.ledger.save_bus_verified(BUS, await first.ledger.last_settlement_seq())
    await first.beat()
    await first.kill()
    await second.beat()
    await second.ledger.take_over(first_id)
    assert await second.ledger.unverified_buses() == []
    assert set(await second.claim()) == {"pending"}


async def test_heir_does_not_doubt_a_requeued_event_that_has_arrived(table: SharedTable) -> None:
    """Its first place is in the same journal. The bus was missing, and was verified after it was sent again."""
    dying, heir = await table.member(), await table.member()
    await heir.beat()
    await dying.ledger.save_bus_verified(BUS, 0)
    await dying.record("pending")
    await dying.record("requeued")
    await dying.send((await dying.tokens())["requeued"])
    assert await dying.ledger.requeue(BUS, now=NOON) == 1
    await dying.send((await dying.tokens())["requeued"])
    await dying.ledger.save_bus_verified(BUS, await dying.ledger.last_settlement_seq())
    await dying.beat()
    await dying.kill()
    await heir.take_over_dead()
    assert await heir.ledger.unverified_buses() == []


async def test_buses_verified_by_two_members_are_both_doubted(table: SharedTable) -> None:
    """Each member has read the list of verified buses before the other adds its bus."""
    members = {bus: await table.member() for bus in (BUS, ANOTHER_BUS)}
    for bus, member in members.items():
        await member.ledger.save_bus_verified(bus, 0)
    for bus, member in members.items():
        await member.beat()
        await member.record(bus)
        await member.send((await member.tokens())[bus], bus)
        assert await member.ledger.unverified_buses() == [bus]


async def test_bus_verified_during_a_requeue_closes_entries_once(table: SharedTable) -> None:
    member = await table.member()
    await member.ledger.save_bus_verified(BUS, 0)
    await member.record("a")
    await member.send((await member.tokens())["a"])
    member.proxy.plan = requeuing = Hold(updates_execution)
    requeue = asyncio.create_task(member.ledger.requeue(BUS, now=NOON))
    await requeuing.reached.wait()
    await member.ledger.save_bus_verified(BUS, await member.ledger.last_settlement_seq())
    requeuing.release()
    assert await requeue == 1
    await member.send((await member.tokens())["a"])
    await member.ledger.save_bus_verified(BUS, await member.ledger.last_settlement_seq())
    await member.beat()
    assert member.ledger.is_mark_at_end
    assert await table.verify() == Counters(recorded=1, sent=1)
