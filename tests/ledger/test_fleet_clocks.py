"""Times that do not fit: clocks of other machines, and the end of the calendar."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from forwarder.ledger import Counters
from forwarder.model import Checkpoint
from tests.factories import FEED, entry
from tests.ledger.fleet_table import SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

AHEAD = timedelta(minutes=4)
"""AWS refuses requests of a machine whose clock differs by more than a few minutes."""


async def test_execution_that_stops_at_the_end_of_time_is_settled(table: SharedTable) -> None:
    """Some systems write it for an unknown time. Without a settlement, the event is sent repeatedly."""
    member = await table.member()
    await member.ledger.add_feeds({FEED: Checkpoint()})
    stop = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    await member.ledger.record(FEED, [entry("a", time=stop)], now=NOON)
    await member.send((await member.tokens())["a"])
    assert await member.ledger.counters() == Counters(recorded=1, sent=1)


async def test_skip_of_a_machine_ahead_hides_no_later_failure(table: SharedTable) -> None:
    """`forwarder enable --fleet` runs on a machine whose clock is ahead of that of the forwarders."""
    command = await table.start()
    await command.ledger.save_fleet_switch(enabled=False, skip=False, now=NOON)
    await command.ledger.save_fleet_switch(enabled=True, skip=True, now=NOON + AHEAD)
    member = await table.member()
    await member.ledger.add_feeds({FEED: Checkpoint(floor=NOON - AHEAD)})
    await command.ledger.save_fleet_switch(enabled=False, skip=False, now=NOON)
    await command.ledger.save_fleet_switch(enabled=True, skip=True, now=NOON + AHEAD + AHEAD)
    await member.beat()
    assert (await member.ledger.checkpoint(FEED)).local_floor == NOON


async def test_feed_added_by_a_machine_ahead_begins_now(table: SharedTable) -> None:
    member = await table.member()
    await member.ledger.add_feeds({FEED: Checkpoint(local_floor=NOON + AHEAD)})
    assert (await member.ledger.checkpoint(FEED)).local_floor == NOON


async def test_skip_during_a_scan_is_not_lost(table: SharedTable) -> None:
    """Both commands ran between two heartbeats, so no process was off. The scan then ends with its own checkpoint."""
    member, command = await table.member(), await table.start()
    await member.ledger.add_feeds({FEED: Checkpoint(floor=NOON - AHEAD)})
    scanned = await member.ledger.checkpoint(FEED)
    await command.ledger.save_fleet_switch(enabled=False, skip=False, now=NOON)
    await command.ledger.save_fleet_switch(enabled=True, skip=True, now=NOON)
    await member.beat()
    await member.ledger.record(FEED, [], now=NOON, checkpoint=replace(scanned, watermark=NOON, full_scan_at=NOON))
    assert (await member.ledger.checkpoint(FEED)).local_floor == NOON
    await member.ledger.record(FEED, [], now=NOON, checkpoint=Checkpoint(NOON, floor=NOON, full_scan_at=NOON))
    assert (await member.ledger.checkpoint(FEED)).local_floor is None


async def test_process_with_a_long_interval_counts_as_running(table: SharedTable) -> None:
    """`replay` sends nothing itself beside it, and `status` shows it as running."""
    slow, usual, observer = await table.start(), await table.start(), await table.start()
    slow.ledger.set_heartbeat_seconds(600.0)
    usual.ledger.set_heartbeat_seconds(5.0)
    for process in (slow, usual):
        await process.beat()
    members = {each.id: each for each in (await observer.ledger.members()).members}
    for member_id, running_minutes in ((slow.member_id, 49), (usual.member_id, 0.9)):
        assert members[member_id].is_running(NOON + timedelta(minutes=running_minutes))
        assert not members[member_id].is_running(NOON + timedelta(minutes=running_minutes + 2))
