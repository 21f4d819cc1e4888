"""Members that nobody is sure about: of processes that are killed at each start, or at once."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from forwarder.ledger.dynamodb.member_list import MAX_TAKE_OVERS, MISSED_HEARTBEATS
from forwarder.ledger.dynamodb.schema import LEDGER, MEMBERS, member_key
from forwarder.model import Feed
from tests.harness.dynamodb_faults import PASS, Fault, Request
from tests.ledger.fleet_table import SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

DAY = timedelta(days=1)
RESTART_PAUSE = timedelta(minutes=2)
"""A heartbeat counts as recent for five intervals, which have a minute here."""


async def test_process_that_is_killed_at_each_start_has_its_feeds(table: SharedTable) -> None:
    """It never lives for the five heartbeats after which it could take over its earlier memberships."""
    feeds = [Feed(f"w-{number}") for number in range(200)]
    sizes, owned = [], []
    for start in range(12):
        process = await table.start()
        process.ledger.set_now(NOON + start * RESTART_PAUSE)
        await process.beat(3)
        fleet = await process.ledger.members()
        sizes.append(fleet.size)
        owned.append(sum(map(fleet.is_own, feeds)))
        await process.kill()
    assert max(sizes) == 3, "those of the last five minutes"
    assert min(owned) > len(feeds) / 5


async def test_living_process_whose_clock_is_wrong_is_counted(table: SharedTable) -> None:
    """Until its next heartbeat, it has no feeds for a process that has just joined."""
    wrong = await table.start()
    wrong.ledger.set_now(NOON - DAY)
    await wrong.beat()
    member = await table.member()
    sizes = [(await member.ledger.members()).size]
    for _ in range(2):
        await wrong.beat()
        await member.beat()
        sizes.append((await member.ledger.members()).size)
    assert sizes == [1, 2, 2]


async def test_heartbeat_does_not_wait_for_many_take_overs(table: SharedTable) -> None:
    """They write to the same partition, which has a few connections of its own."""
    killed, heir = await table.member(), await table.member()
    item = await killed.ledger.member_item(killed.member_id)
    copied = {name: value for name, value in item.items() if name not in ("p", "s")}
    for number in range(20):
        await heir.ledger.put_item(member_key(f"{number:012x}"), copied)
    await killed.kill()
    await heir.beat(MISSED_HEARTBEATS)
    written: list[str] = []

    def slow(request: Request) -> Fault:
        if not request.writes(MEMBERS):
            return PASS
        written.append(request.values["Key"]["s"]["S"])
        return Fault(delay_seconds=0.05)

    heir.proxy.plan = slow
    heir.ledger.set_heartbeat_seconds(0.2)  # a heartbeat waits half of it for the take-overs that it begins
    await heir.beat()
    before = len(written)
    await heir.beat()
    assert written[before:].index(heir.member_id) <= MAX_TAKE_OVERS
    assert len(set(written)) < 20, "most take-overs still wait"


async def test_take_over_that_fails_unexpectedly_is_logged_once(table: SharedTable) -> None:
    """An item may be damaged by hand. The heartbeats go on, and the next heir tries again."""
    damaged, heir = await table.member(), await table.member()
    await damaged.record("a")
    item = await damaged.ledger.member_item(damaged.member_id)
    await damaged.kill()
    without = {name: value for name, value in item.items() if name not in ("p", "s", "bl")}
    await heir.ledger.put_item(member_key(item["s"]), without)
    with capture_logs() as logs:
        await heir.beat(10)
    assert [each["exception_type"] for each in logs if each["event"] == "take-over failed"] == ["KeyError"]
    await heir.ledger.put_item(member_key(item["s"]), {**without, "bl": item["bl"]})
    await heir.beat()
    assert set(await heir.claim()) == {"a"}


async def test_process_does_not_write_an_older_format_back(table: SharedTable) -> None:
    """A newer version has changed the format while an older process runs."""
    member = await table.member()
    await member.ledger.add_feeds({}, discovered_at=NOON)
    assert (await member.ledger.all_items())[LEDGER]["ledger_format"] == 1
    await member.ledger.put_item(LEDGER, {**(await member.ledger.all_items())[LEDGER], "ledger_format": 2})
    await member.ledger.add_feeds({}, discovered_at=NOON + DAY)
    await member.ledger.save_bus_verified("a", 0)
    await member.ledger.save_fleet_switch(enabled=False, skip=False, now=NOON)
    assert (await member.ledger.all_items())[LEDGER]["ledger_format"] == 2
