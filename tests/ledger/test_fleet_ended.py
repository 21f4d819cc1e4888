"""Members that ended are counted in the ledger's item, and their own items are deleted."""

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from forwarder.ledger import Counters
from forwarder.ledger.dynamodb import ended
from forwarder.ledger.dynamodb.schema import MEMBERS
from forwarder.ledger.models import TimeWindow
from forwarder.model import Checkpoint
from tests.factories import FEED
from tests.harness.dynamodb_faults import DENIED, LOSE_REPLY, LOSE_REQUEST, PASS, Fault, Plan, Request, execute
from tests.ledger.fleet_table import Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

MIN_ENDED = 4

LATER = NOON + timedelta(days=10)
"""A time at which the journals of today have expired."""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended, "MIN_ENDED", MIN_ENDED)
    monkeypatch.setattr(ended, "MAX_ENDED", MIN_ENDED)


async def end_members(table: SharedTable, count: int, *, recorded: int = 1) -> list[str]:
    """Let members record entries and leave. Return the ids of their entries."""
    ids = []
    for number in range(count):
        process = await table.member()
        mine = [f"e-{number}-{each}" for each in range(recorded)]
        if mine:
            await process.record(*mine)
        await process.leave()
        ids += mine
    return ids


async def ended_names(process: Process) -> list[str]:
    """Return the members of the table without this one."""
    items = await process.ledger.all_items()
    return sorted(key.s for key in items if key.p == MEMBERS and key.s not in ("!ledger", process.member_id))


async def ended_fleet(table: SharedTable, count: int = MIN_ENDED) -> Process:
    """Return the only member of a fleet, whose others have ended so long ago that nothing needs their items."""
    ids = await end_members(table, count)
    heir = await table.member()
    assert set(await heir.claim()) == set(ids)
    assert len(await ended_names(heir)) == count
    await heir.beat()
    heir.ledger.set_now(LATER)
    return heir


async def test_members_that_ended_are_counted_once_and_deleted(table: SharedTable) -> None:
    heir, observer = await ended_fleet(table), await table.start()
    expected = Counters(recorded=MIN_ENDED, pending=MIN_ENDED)
    for remaining in (MIN_ENDED, 0, 0):
        await heir.beat()
        assert len(await ended_names(heir)) == remaining
        assert await heir.ledger.counters() == await observer.ledger.counters() == expected
        assert await table.verify() == expected


async def test_some_ended_members_are_left_alone(table: SharedTable) -> None:
    """Too few are not worth two writes, and the lists of events read journals that have not expired."""
    await end_members(table, MIN_ENDED - 1, recorded=0)
    await end_members(table, 3)
    heir = await table.member()
    await heir.beat(3)
    assert len(await ended_names(heir)) == MIN_ENDED + 2


async def test_members_without_a_journal_are_deleted_at_once(table: SharedTable) -> None:
    await end_members(table, MIN_ENDED, recorded=0)
    heir = await table.member()
    await heir.beat(3)
    assert await ended_names(heir) == []


async def test_many_ended_members_are_deleted_at_any_age(table: SharedTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended, "MAX_KEPT", 3)
    ids = await end_members(table, MIN_ENDED + 3)
    heir = await table.member()
    await heir.beat(3)
    assert len(await ended_names(heir)) == 3
    assert set(await heir.claim()) == set(ids)
    assert await table.verify() == Counters(recorded=len(ids), pending=len(ids))


class FaultAt:
    """A plan with one fault at one of the requests that follow."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.left, self.fault = number, fault

    def __call__(self, _: Request) -> Fault:
        self.left -= 1
        return self.fault if self.left == 0 else PASS


@pytest.mark.parametrize("fault", [LOSE_REPLY, LOSE_REQUEST])
async def test_lost_replies_count_nobody_twice(table: SharedTable, fault: Fault) -> None:
    heir = await ended_fleet(table)
    for number in range(1, 2 * MIN_ENDED):
        heir.proxy.plan = FaultAt(number, fault)
        await heir.beat()
    heir.proxy.plan = execute
    await heir.beat(2)
    assert await ended_names(heir) == []
    assert await table.verify() == Counters(recorded=MIN_ENDED, pending=MIN_ENDED)


@pytest.mark.parametrize(
    "request_number",
    [2, 5, *(pytest.param(each, marks=pytest.mark.long) for each in (1, 3, 4, *range(6, MIN_ENDED + 7)))],
)
async def test_process_that_dies_meanwhile_is_continued(table: SharedTable, request_number: int) -> None:
    """It dies at any request of the two heartbeats, and the next process goes on."""
    dying = await ended_fleet(table)
    died = asyncio.Event()

    def plan(request: Request) -> Fault:
        if request.number - before >= request_number:
            died.set()
            return LOSE_REQUEST
        return PASS

    before = dying.proxy.count
    dying.proxy.plan = plan
    beats = asyncio.create_task(dying.beat(3))
    await died.wait()
    beats.cancel()
    await asyncio.gather(beats, return_exceptions=True)
    await dying.kill()
    heir = await table.member()
    heir.ledger.set_now(LATER)
    await heir.take_over_dead()
    await heir.beat(3)
    assert len(await ended_names(heir)) <= 1, "only the one that died"
    assert await table.verify() == Counters(recorded=MIN_ENDED, pending=MIN_ENDED)


def stopped_at_the_count(arrived: asyncio.Event, go_on: asyncio.Event) -> Plan:
    """Return a plan that holds the write by which members are counted."""

    def plan(request: Request) -> Fault:
        if request.operation == "UpdateItem" and "ended_totals" in request.values["UpdateExpression"]:
            arrived.set()
            return Fault(waits_for=go_on)
        return PASS

    return plan


@pytest.mark.parametrize("are_deleted", [False, True])
async def test_slow_process_counts_nobody_again(table: SharedTable, are_deleted: bool) -> None:
    """Its write arrives when another process has counted the same members and more, and maybe deleted them."""
    slow = await ended_fleet(table, 2 * MIN_ENDED)
    go_on, arrived = asyncio.Event(), asyncio.Event()
    slow.proxy.plan = stopped_at_the_count(arrived, go_on)
    beat = asyncio.create_task(slow.beat())
    await arrived.wait()
    other = await table.start()
    other.ledger.set_now(LATER)
    for _ in range(2):
        await other.ledger.count_ended_members(MIN_ENDED)
        if are_deleted:
            await other.ledger.delete_ended_members()
    go_on.set()
    await beat
    slow.proxy.plan = execute
    expected = Counters(recorded=2 * MIN_ENDED, pending=2 * MIN_ENDED)
    assert await table.verify() == expected
    await slow.beat(4)
    assert await ended_names(slow) == []
    assert await table.verify() == await slow.ledger.counters() == expected


async def test_members_counted_by_another_process_meanwhile_are_kept(table: SharedTable) -> None:
    """A process that begins to count finds names that were written after its last heartbeat."""
    late = await ended_fleet(table, 2 * MIN_ENDED)
    other = await table.start()
    other.ledger.set_now(LATER)
    await other.ledger.count_ended_members(MIN_ENDED)
    await late.beat(4)
    assert await ended_names(late) == []
    assert await table.verify() == Counters(recorded=2 * MIN_ENDED, pending=2 * MIN_ENDED)


async def test_commands_do_not_displace_ended_processes(table: SharedTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each retry is a member for a moment. `replay` of a period needs the journals of the processes that recorded."""
    monkeypatch.setattr(ended, "MAX_KEPT", 3)
    recorder, living, command = await table.member(), await table.member(), await table.start()
    await recorder.record("a")
    await recorder.send((await recorder.tokens())["a"])
    await recorder.leave()
    await living.beat(2)
    await living.record("dead")
    for retry in range(2 * MIN_ENDED):
        await living.die((await living.tokens(after=timedelta(days=retry)))["dead"])
        assert await command.ledger.retry_dead_letters(None, now=NOON) == 1
        await living.beat()
    await living.beat(4)
    window = TimeWindow(NOON - timedelta(days=400), NOON + timedelta(days=1), None)
    assert (await command.ledger.replay_counts(window)).available == 1
    assert len(await ended_names(living)) < 2 * MIN_ENDED


async def test_denied_deletion_prevents_no_other_work(table: SharedTable) -> None:
    """A policy that was made by hand lacks `DeleteItem`. Checkpoints are saved after the deletion of members."""
    heir, other = await ended_fleet(table), await table.start()
    await heir.ledger.add_feeds({FEED: Checkpoint()})
    await heir.beat()
    assert len(await ended_names(heir)) == MIN_ENDED, "counted, and not deleted yet"
    await heir.read_feed()
    heir.proxy.plan = lambda request: DENIED if request.operation == "DeleteItem" else PASS
    with capture_logs() as logs:
        await heir.beat(3)
    (warning,) = [each for each in logs if each["log_level"] == "warning"]
    assert "denies access" in warning["reason"]
    assert "infra/identity.yaml" in warning["hint"]
    assert (await other.ledger.checkpoint(FEED)).watermark == NOON
    heir.proxy.plan = execute
    await heir.beat()
    assert await ended_names(heir) == []
