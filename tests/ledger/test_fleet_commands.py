"""Commands that change many entries on a shared ledger."""

import asyncio
from datetime import timedelta

import pytest

from forwarder.errors import LedgerUnavailable
from forwarder.ledger import Counters, ReplayCounts, TimeWindow
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from tests.harness.dynamodb_faults import LOSE_REQUEST, PASS, THROTTLED, Hold, execute
from tests.ledger.fleet_table import Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

HEARTBEAT_SECONDS = 0.1

TODAY = TimeWindow(NOON - timedelta(days=1), NOON + timedelta(days=1))


async def send_all(member: Process, *ids: str) -> None:
    await member.record(*ids)
    for token in (await member.tokens()).values():
        await member.send(token)
    await member.beat()


async def test_long_command_is_not_taken_over(table: SharedTable) -> None:
    """It replays more events than it can within the heartbeats after which a silent process counts as dead."""
    member, command = await table.member(), await table.start()
    await send_all(member, "a", "b")
    command.ledger.set_heartbeat_seconds(HEARTBEAT_SECONDS)
    command.proxy.plan = hold = Hold(lambda request: request.writes("x#"))
    replaying = asyncio.create_task(command.ledger.replay(TODAY, now=NOON))
    await hold.reached.wait()
    for _ in range(2 * MISSED_HEARTBEATS):
        await asyncio.sleep(2 * HEARTBEAT_SECONDS)
        await member.beat()
    hold.release()
    assert await replaying == 2
    await member.beat()
    assert {key: each.send_number for key, each in (await member.claim()).items()} == {"a": 2, "b": 2}
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_command_that_was_paused_reports_no_failure(table: SharedTable) -> None:
    """It was taken over after its last write. A person who repeats the command would send the events once more."""
    member, command = await table.member(), await table.start()
    await send_all(member, "a")
    command.proxy.plan = hold = Hold(lambda request: request.writes("m") and b":lf" in request.body)
    replaying = asyncio.create_task(command.ledger.replay(TODAY, now=NOON))
    await hold.reached.wait()
    await member.take_over_dead()
    hold.release()
    assert await replaying == 1
    assert set(await member.claim()) == {"a"}


async def test_replay_does_not_request_expired_items_one_by_one(table: SharedTable) -> None:
    """Most items of a process that runs for months have expired."""
    member, command = await table.member(), await table.start()
    await send_all(member, "a")
    member.ledger.membership.window.next_number += 1000
    await member.beat()
    before = command.proxy.count
    assert await command.ledger.replay_counts(TODAY) == ReplayCounts(1, {})
    assert command.proxy.count - before < 20


async def test_dead_letter_leaves_no_item_if_an_heir_purges_it(table: SharedTable) -> None:
    """The command ends after it has journaled. The heir makes the transition, and nobody could list the item again."""
    member, command = await table.member(), await table.start()
    await member.record("purged", "retried")
    for token in (await member.tokens()).values():
        await member.die(token)
    await member.beat()
    for request in (
        command.ledger.purge_dead_letters(["purged"]),
        command.ledger.retry_dead_letters(["retried"], now=NOON),
    ):
        command.proxy.plan = lambda request: LOSE_REQUEST if request.writes("x#") else PASS
        with pytest.raises(LedgerUnavailable):
            await request
    await member.take_over_dead()
    assert await member.ledger.counters() == Counters(recorded=2, pending=1, purged=1)
    assert not [key for key in await member.ledger.all_items() if key.p.startswith("d#")]
    assert await table.verify() == Counters(recorded=2, pending=1, purged=1)


async def test_throttled_deletion_of_a_dead_letter_is_repeated(table: SharedTable) -> None:
    member = await table.member()
    await member.record("purged")
    await member.die((await member.tokens())["purged"])
    member.proxy.plan = lambda request: THROTTLED if request.writes("d#") else PASS
    with pytest.raises(LedgerUnavailable):
        await member.ledger.purge_dead_letters(["purged"])
    member.proxy.plan = execute
    await member.beat()
    assert not [key for key in await member.ledger.all_items() if key.p.startswith("d#")]
    assert await table.verify() == Counters(recorded=1, purged=1)
