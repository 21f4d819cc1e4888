"""A process that reaches the table, but not the logs API: the others poll its feeds while they can."""

import pytest

from forwarder.fleet_watch import BETWEEN_HANDOVERS_SECONDS, FleetWatch
from forwarder.health import Health
from forwarder.ledger import DaemonStatus, Fleet
from forwarder.model import Feed, State
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
        self._watch = FleetWatch(process.ledger, 5.0, self.clock, self.health, self._keep)

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
