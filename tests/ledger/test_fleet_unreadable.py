"""A process that reaches the table, but not the logs API: the others poll its feeds while they can."""

from datetime import timedelta

import pytest

from forwarder.feed_handover import BETWEEN_HANDOVERS_SECONDS, FeedHandover
from forwarder.fleet_watch import FleetWatch
from forwarder.health import Health
from forwarder.ledger import DaemonStatus, Fleet, PollResult
from forwarder.model import Checkpoint, Feed, State
from tests.ledger.fleet_table import Process, SharedTable
from tests.virtual_clock import NOON, QuickClock

pytestmark = pytest.mark.dynamodb

FEEDS = [Feed(f"w-{number}") for number in range(40)]
MINUTE = 60.0


class Watched:
    """A process with its health and its heartbeats."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.clock = QuickClock()
        self.health = Health(self.clock.now)
        self.fleet = Fleet((), "")
        self._handover = FeedHandover(process.ledger, self.clock, self.health)
        self.reload()

    def reload(self) -> None:
        """Begin as after a change of the settings."""
        self._watch = FleetWatch(self.process.ledger, 5.0, self.clock, self.health, self._handover, self._keep)

    def _keep(self, fleet: Fleet) -> None:
        self.fleet = fleet

    async def beat(self, source: State) -> None:
        self.health.report("source", source, "why")
        status = self.health.components["source"]
        saved = {"state": status.state.value, "since": status.since, "reason": status.reason, "hint": ""}
        await self.process.ledger.save_daemon_status(DaemonStatus(NOON, 1, {"source": saved}), {})
        await self._watch.beat()

    @property
    def own(self) -> int:
        return sum(map(self.fleet.is_own, FEEDS))


async def watched(table: SharedTable) -> Watched:
    process = Watched(await table.start())
    await process.process.beat()
    return process


async def test_feeds_of_a_process_that_cannot_read_go_to_the_others(table: SharedTable) -> None:
    sick, well = await watched(table), await watched(table)
    for _ in range(2):
        await sick.beat(State.FAILED)
        await well.beat(State.HEALTHY)
    assert sick.own + well.own == len(FEEDS), "it failed only now"
    sick.clock.advance(MINUTE)
    for _ in range(2):
        await sick.beat(State.FAILED)
        await well.beat(State.HEALTHY)
    assert well.own == len(FEEDS)
    assert 0 < sick.own < len(FEEDS), "it goes on, to find out when it can read again"
    assert {each.id for each in well.fleet.members} == {each.process.member_id for each in (sick, well)}
    await sick.beat(State.HEALTHY)
    await sick.beat(State.HEALTHY)
    await well.beat(State.HEALTHY)
    assert sick.own + well.own == len(FEEDS)


async def test_feeds_stay_while_nobody_can_read(table: SharedTable) -> None:
    one, two = await watched(table), await watched(table)
    for _ in range(3):
        for each in (one, two):
            await each.beat(State.FAILED)
            each.clock.advance(MINUTE)
    assert one.own + two.own == len(FEEDS)


async def test_feeds_do_not_go_to_a_process_that_watches_others(table: SharedTable) -> None:
    sick, other = await watched(table), await watched(table)
    other.process.ledger.set_feed_group("other")
    for _ in range(3):
        await other.beat(State.HEALTHY)
        await sick.beat(State.FAILED)
        sick.clock.advance(MINUTE)
    assert not any(each.cannot_read for each in sick.fleet.members)


async def test_feeds_that_were_taken_back_stay_for_a_while(table: SharedTable) -> None:
    """The others fail as soon as they have the feeds, and are healthy without any."""
    sick, well = await watched(table), await watched(table)
    states = []
    for well_state in (State.HEALTHY, State.HEALTHY, State.FAILED, State.HEALTHY):
        sick.clock.advance(MINUTE)
        await well.beat(well_state)
        await sick.beat(State.FAILED)
        await sick.beat(State.FAILED)
        states.append(next(each.cannot_read for each in sick.fleet.members if each.id == sick.fleet.own_id))
    sick.clock.advance(BETWEEN_HANDOVERS_SECONDS)
    await sick.beat(State.FAILED)
    await sick.beat(State.FAILED)
    states.append(next(each.cannot_read for each in sick.fleet.members if each.id == sick.fleet.own_id))
    assert states == [False, True, False, False, True]


async def test_feeds_stay_handed_over_during_a_reload(table: SharedTable) -> None:
    """New settings begin with a source that starts. Feeds that were taken back would stay unread for ten minutes."""
    sick, well = await watched(table), await watched(table)
    await sick.beat(State.FAILED)
    sick.clock.advance(MINUTE)
    states = []
    for state in (State.FAILED, State.STARTING, State.FAILED, State.STARTING, State.HEALTHY):
        if state is State.STARTING:
            sick.reload()
        await well.beat(State.HEALTHY)
        await sick.beat(state)
        await well.beat(State.HEALTHY)
        await sick.beat(state)
        states.append(next(each.cannot_read for each in sick.fleet.members if each.id == sick.fleet.own_id))
    assert states == [True, True, True, True, False]


async def test_checkpoints_of_the_new_owner_are_kept(table: SharedTable) -> None:
    """The process that cannot read goes on polling, and knows only the old ones."""
    sick, well = await watched(table), await watched(table)
    await sick.beat(State.FAILED)
    feed = next(each for each in FEEDS if sick.fleet.is_own(each))
    await sick.process.ledger.add_feeds({feed: Checkpoint()})
    before = Checkpoint(watermark=NOON, full_scan_at=NOON)
    await sick.process.ledger.record(feed, [], now=NOON, checkpoint=before)
    sick.clock.advance(MINUTE)
    for _ in range(3):
        await sick.beat(State.FAILED)
        await well.beat(State.HEALTHY)
    assert well.fleet.is_own(feed)
    assert await well.process.ledger.checkpoint(feed) == before
    for minute in range(0, 60, 5):
        now = NOON + timedelta(minutes=minute)
        for each in (sick, well):
            each.process.ledger.set_now(now)
        failed = {feed: PollResult(now, "cannot be reached", 60.0, "backoff")}
        await sick.process.ledger.checkpoint(feed)
        await sick.process.ledger.save_daemon_status(DaemonStatus(now, 1, {}), failed)
        read = Checkpoint(watermark=now, full_scan_at=now)
        await well.process.ledger.record(feed, [], now=now, checkpoint=read)
        for each in (sick, well):
            await each.process.beat()
        assert (await well.process.ledger.checkpoint(feed)).watermark == now
    (stored,) = [each for each in await (await table.start()).ledger.feeds() if each.feed == feed]
    assert stored.checkpoint.watermark is not None
    assert stored.checkpoint.watermark >= NOON + timedelta(minutes=45), "written within ten minutes"
