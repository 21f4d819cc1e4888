"""The checkpoints of a fleet: kept in memory by the owner of a feed, written late, and never over another's."""

from datetime import timedelta

import pytest

from forwarder.ledger import DaemonStatus, PollResult
from forwarder.ledger.dynamodb.feeds import MAX_CHECKPOINT_AGE
from forwarder.model import Checkpoint
from tests.factories import FEED, entry
from tests.harness.dynamodb_faults import PASS, Fault, Request
from tests.ledger.fleet_table import Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


class CheckpointWrites:
    """A plan that counts the writes of feeds, and passes all requests."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request: Request) -> Fault:
        self.count += request.writes("f#")
        return PASS


async def new_owner(table: SharedTable) -> Process:
    """Start processes until one owns the feed. It has no checkpoint in memory. The others leave."""
    while True:
        process = await table.member()
        if (await process.ledger.beat()).is_own(FEED):
            return process
        await process.leave()


async def watermark(table: SharedTable) -> object:
    return (await (await table.start()).ledger.checkpoint(FEED)).watermark


async def test_poll_that_finds_nothing_requests_nothing(table: SharedTable) -> None:
    """The owner caches the checkpoint, and the ids that each poll lists again."""
    member = await table.member()
    await member.record("a", "b")
    checkpoint = await member.ledger.checkpoint(FEED)
    before = member.proxy.count
    for number in range(10):
        assert await member.ledger.checkpoint(FEED) == checkpoint
        assert await member.ledger.known_ids(["a", "b"]) == {"a", "b"}
        checkpoint = Checkpoint(watermark=NOON + number * SECOND)
        assert await member.ledger.record(FEED, [], now=NOON, checkpoint=checkpoint) == 0
    assert member.proxy.count == before


async def test_checkpoint_is_written_once_in_ten_minutes(table: SharedTable) -> None:
    member = await table.member()
    await member.ledger.add_feeds({FEED: Checkpoint()})
    first = Checkpoint(NOON, full_scan_at=NOON)
    await member.ledger.record(FEED, [], now=NOON, checkpoint=first)
    await member.beat()
    writes = member.proxy.plan = CheckpointWrites()
    for minutes in range(1, 21):
        member.ledger.set_now(NOON + timedelta(minutes=minutes))
        moved = Checkpoint(NOON + minutes * SECOND, full_scan_at=NOON)
        await member.ledger.record(FEED, [], now=NOON, checkpoint=moved)
        await member.beat()
    assert writes.count == 1
    member.ledger.set_now(NOON + timedelta(minutes=20) + 2 * MAX_CHECKPOINT_AGE)
    await member.beat()
    assert writes.count == 2
    assert await watermark(table) == NOON + 20 * SECOND


async def test_error_of_a_feed_is_written_soon(table: SharedTable) -> None:
    """A command on another machine names it. Later polls with the same error are written with the checkpoint."""
    member, command = await table.member(), await table.start()
    await member.ledger.add_feeds({FEED: Checkpoint()})
    await member.ledger.record(FEED, [], now=NOON, checkpoint=Checkpoint(NOON, full_scan_at=NOON))
    await member.beat()
    writes = member.proxy.plan = CheckpointWrites()
    errors = []
    for minute, error in enumerate(["404", "404", ""]):
        poll = PollResult(NOON + minute * timedelta(minutes=1), error)
        await member.ledger.save_daemon_status(DaemonStatus(NOON, 1, {}), {FEED: poll})
        await member.beat()
        (status,) = await command.ledger.feeds()
        assert status.last_poll is not None
        errors.append((status.last_poll.error, writes.count))
    assert errors == [("404", 1), ("404", 1), ("", 2)]


async def test_heartbeat_has_the_time_of_the_last_poll(table: SharedTable) -> None:
    """Checkpoints are up to ten minutes old. They do not show that polling goes on."""
    member, command = await table.member(), await table.start()
    await member.ledger.add_feeds({FEED: Checkpoint()})
    polled = [(await command.ledger.members()).members[0].polled_at]
    await member.ledger.record(FEED, [], now=NOON + HOUR, checkpoint=Checkpoint(NOON, full_scan_at=NOON))
    await member.beat()
    polled.append((await command.ledger.members()).members[0].polled_at)
    assert polled == [None, NOON + HOUR]


async def test_process_that_does_not_own_a_feed_writes_no_checkpoint(table: SharedTable) -> None:
    """A webhook call makes it poll the feed. It records what it finds."""
    visitor = await table.member()
    owner = await new_owner(table)
    await visitor.beat()
    await owner.ledger.add_feeds({FEED: Checkpoint()})
    visitor.proxy.plan = writes = CheckpointWrites()
    assert await visitor.ledger.checkpoint(FEED) == Checkpoint()
    assert await visitor.ledger.record(FEED, [entry("a")], now=NOON, checkpoint=Checkpoint(NOON)) == 1
    visitor.ledger.set_now(NOON + HOUR)
    await visitor.beat()
    await visitor.leave()
    assert writes.count == 0
    assert await watermark(table) is None
    await owner.beat()
    assert set(await owner.claim()) == {"a"}


async def test_checkpoint_of_a_former_owner_is_refused(table: SharedTable) -> None:
    """It did not notice yet that the feed has another owner, whose checkpoint is newer."""
    former = await table.member()
    await former.ledger.add_feeds({FEED: Checkpoint()})
    await former.ledger.record(FEED, [], now=NOON, checkpoint=Checkpoint(NOON, open_executions={"old": NOON}))
    owner = await new_owner(table)
    await owner.ledger.record(FEED, [], now=NOON, checkpoint=Checkpoint(NOON + HOUR, open_executions={"new": NOON}))
    await owner.leave()
    await former.leave()
    saved = await (await table.start()).ledger.checkpoint(FEED)
    assert saved == Checkpoint(NOON + HOUR, open_executions={"new": NOON})
