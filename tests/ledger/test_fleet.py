"""Several processes share one table: each execution is recorded once, and outlives the death of its owner."""

import asyncio
import zlib
from datetime import timedelta

import pytest

from forwarder.errors import LedgerUnavailable
from forwarder.ledger import Counters, DaemonStatus, Dead, EntryFilter, TimeWindow
from forwarder.ledger.dynamodb.journal import MembershipLost
from forwarder.ledger.dynamodb.schema import member_key
from tests.harness.dynamodb_faults import DENIED, LOSE_REPLY, LOSE_REQUEST, PASS, Fault, Request, execute
from tests.ledger.fleet_table import BUS, Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.long)])
async def test_two_processes_record_the_same_ids_once(table: SharedTable, rounds: int) -> None:
    first, second = await table.member(), await table.member()
    for number in range(rounds):
        ids = [f"e-{number}-{each}" for each in range(10)]
        counts = await asyncio.gather(first.record(*ids), second.record(*ids))
        assert sum(counts) == 10
    await first.beat()
    await second.beat()
    owned = [set(await each.claim(10_000)) for each in (first, second)]
    assert sum(map(len, owned)) == len(owned[0] | owned[1]) == 10 * rounds
    assert await table.verify() == Counters(recorded=10 * rounds, pending=10 * rounds)


async def test_heir_delivers_what_a_dead_member_left(table: SharedTable) -> None:
    """Entries that are pending, sent, dead, postponed, replayed and retried keep their states and their attempts."""
    dying, heir = await table.member(), await table.member()
    await dying.record("sent", "dead", "postponed", "replayed", "retried", "pending")
    tokens = await dying.tokens()
    for each in ("sent", "replayed"):
        await dying.send(tokens[each])
    for each in ("dead", "retried"):
        await dying.die(tokens[each])
    await dying.postpone(tokens["postponed"], NOON + 60 * SECOND)
    assert await dying.ledger.replay_executions(["replayed"], now=NOON) == 1
    assert await dying.ledger.retry_dead_letters(["retried"], now=NOON) == 1
    await dying.kill()
    await heir.take_over_dead()
    claimed = await heir.claim()
    assert set(claimed) == {"replayed", "retried", "pending"}
    assert claimed["replayed"].send_number == 2
    later = await heir.claim(after=60 * SECOND)
    assert {key: (each.attempts, each.unclassified_attempts) for key, each in later.items()} == {"postponed": (1, 1)}
    assert [each.entry.execution_id for each in await heir.ledger.dead_letters()] == ["dead"]
    for remaining in (claimed | later).values():
        await heir.send(remaining.token)
    await heir.beat()
    assert await table.verify() == Counters(recorded=6, sent=5, dead=1)


async def test_oldest_own_pending_ignores_other_living_processes(table: SharedTable) -> None:
    """Entries of a process that ended count for each other one, until they are taken over."""
    sender, idle = await table.member(), await table.member()
    await sender.record("a")
    await sender.beat()
    await idle.beat()
    assert await sender.ledger.oldest_own_pending() == await idle.ledger.oldest_pending() == NOON
    assert await idle.ledger.oldest_own_pending() is None
    await sender.kill()
    # The journal of the one that ended cannot be read, so that the take-over waits.
    idle.proxy.plan = lambda request: DENIED if request.operation == "Query" and b"j#" in request.body else PASS
    await idle.take_over_dead()
    assert await idle.claim() == {}
    assert await idle.ledger.oldest_own_pending() == NOON


async def test_entry_recorded_after_the_last_heartbeat_is_listed(table: SharedTable) -> None:
    """A dead member's entries stay visible, and can be replayed, although its last heartbeat does not count them."""
    dying, heir = await table.member(), await table.member()
    await dying.record("a")
    dying_id = dying.member_id
    await dying.kill()
    await heir.ledger.take_over(dying_id)
    await heir.send((await heir.tokens())["a"])
    await heir.beat()
    page = await heir.ledger.entries(EntryFilter(), 10)
    assert [each.entry.execution_id for each in page.entries] == ["a"]
    assert await heir.ledger.replay(TimeWindow(NOON - DAY, NOON + DAY), now=NOON) == 1


async def test_switch_is_saved_against_what_the_table_has(table: SharedTable) -> None:
    """Another process has switched the fleet since the last heartbeat, and the reply of this switch is lost."""
    member, command = await table.member(), await table.start()
    assert await command.ledger.save_fleet_switch(enabled=False, skip=False, now=NOON) is True
    member.proxy.plan = LoseOneReply()
    assert await member.ledger.save_fleet_switch(enabled=True, skip=True, now=NOON) is False
    assert await command.ledger.saved_switch() is True
    assert await member.ledger.save_fleet_switch(enabled=True, skip=True, now=NOON) is True


async def test_member_that_left_is_adopted_at_once(table: SharedTable) -> None:
    leaving, heir = await table.member(), await table.member()
    await leaving.record("a", "b")
    await leaving.send((await leaving.tokens())["a"])
    await leaving.leave()
    await heir.beat()
    assert set(await heir.claim()) == {"b"}
    assert await table.verify() == Counters(recorded=2, pending=1, sent=1)


async def test_status_of_each_member_is_visible_to_all(table: SharedTable) -> None:
    """It is saved with the next heartbeat, and that of a member that has ended is no longer visible."""
    first, second, command = await table.member(), await table.member(), await table.start()
    saved = {}
    for number, process in enumerate((first, second)):
        status = DaemonStatus(NOON, number, {"bus": {"state": "FAILED", "reason": str(number)}})
        saved[process.member_id] = status
        writes = process.proxy.plan = CountedWrites()
        await process.ledger.save_daemon_status(status, {})
        await process.beat(3)
        assert writes.count == 3, "a heartbeat is one write"
    assert {each.id: each.status for each in (await command.ledger.members()).members} == saved
    own_id = first.member_id
    others = {each.id: each.status for each in (await first.ledger.beat()).members if each.id != own_id}
    assert others == {second.member_id: saved[second.member_id]}
    await second.leave()
    assert {each.id: each.status for each in (await command.ledger.members()).members} == {own_id: saved[own_id]}


async def test_requests_of_a_command_are_made_by_the_next_heartbeat(table: SharedTable) -> None:
    """A command is no member: it retries, purges and replays, and a member delivers."""
    member, command = await table.member(), await table.start()
    await member.record("retried", "purged", "replayed")
    tokens = await member.tokens()
    await member.die(tokens["retried"])
    await member.die(tokens["purged"])
    await member.send(tokens["replayed"])
    assert await command.ledger.retry_dead_letters(["retried"], now=NOON) == 1
    assert await command.ledger.purge_dead_letters(["purged"]) == 1
    assert await command.ledger.replay_executions(["replayed"], now=NOON) == 1
    assert len((await member.ledger.beat()).members) == 1
    assert {key: each.send_number for key, each in (await member.claim()).items()} == {"retried": 1, "replayed": 2}
    assert await table.verify() == Counters(recorded=3, pending=2, purged=1)


async def test_unverified_bus_survives_the_death_of_the_sender(table: SharedTable) -> None:
    dying, first, second = [await table.member() for _ in range(3)]
    await dying.ledger.save_bus_verified(BUS, 0)
    await dying.record("a", "b")
    tokens = await dying.tokens()
    await dying.send(tokens["a"])
    dying_id, first_id = dying.member_id, first.member_id
    await dying.kill()
    await first.ledger.take_over(dying_id)
    assert await first.ledger.unverified_buses() == [BUS]
    await first.kill()
    await second.ledger.take_over(first_id)
    assert await second.ledger.unverified_buses() == [BUS]
    assert await second.ledger.requeue(BUS, now=NOON) == 1
    assert set(await second.claim()) == {"a", "b"}
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_taken_over_member_stops_and_joins_again(table: SharedTable) -> None:
    """A member wakes after its take-over. Its records fail, and what it had claimed is settled by the heir only."""
    paused, heir = await table.member(), await table.member()
    await paused.record("a", "b")
    tokens = await paused.tokens()
    before = paused.member_id
    await heir.take_over_dead()
    with pytest.raises(MembershipLost):
        await paused.record("c")
    await paused.beat()
    assert paused.member_id != before
    await paused.send(tokens["a"])
    assert await paused.claim() == {}
    assert set(await heir.claim()) == {"a", "b"}
    assert await paused.record("a", "c") == 1
    assert set(await paused.claim()) == {"c"}
    assert await table.verify() == Counters(recorded=3, pending=3)


async def test_member_that_joins_again_counts_its_traffic_once(table: SharedTable) -> None:
    paused, heir = await table.member(), await table.member()
    await paused.record("a", "b")
    paused.ledger.set_now(NOON + 60 * SECOND)
    await paused.beat()
    await heir.take_over_dead()
    paused.ledger.set_now(NOON + 120 * SECOND)
    await paused.beat()
    await paused.record("c")
    paused.ledger.set_now(NOON + 180 * SECOND)
    await paused.beat()
    for process in (paused, heir):
        assert [each.recorded for each in (await process.ledger.traffic(now=NOON)).minutes] == [3]


async def test_taken_over_member_settles_what_is_not_adopted_yet(table: SharedTable) -> None:
    paused, heir = await table.member(), await table.member()
    await paused.record("a", "b")
    tokens, paused_id = await paused.tokens(), paused.member_id
    heir.proxy.plan = lambda request: LOSE_REQUEST if request.writes("j#") else PASS  # it cannot seal
    with pytest.raises(LedgerUnavailable):
        await heir.ledger.take_over(paused_id)
    heir.proxy.plan = execute
    await paused.beat()
    await paused.send(tokens["a"])
    await heir.ledger.take_over(paused_id)
    assert set(await heir.claim()) == {"b"}
    assert await table.verify() == Counters(recorded=2, pending=1, sent=1)


async def test_fleets_in_one_table_do_not_see_each_other(table: SharedTable) -> None:
    prefixes = ["", "a", "b"]
    for index, prefix in enumerate(prefixes, start=1):
        member = await table.member(prefix=prefix)
        assert await member.record(*(f"e-{number}" for number in range(index))) == index
        await member.beat()
        assert (await member.ledger.beat()).size == 1
    for index, prefix in enumerate(prefixes, start=1):
        assert await table.verify(prefix=prefix) == Counters(recorded=index, pending=index)


class CountedWrites:
    """A plan that counts the writes, and passes all requests."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request: Request) -> Fault:
        self.count += request.writes("")
        return PASS


class LoseOneReply:
    """A plan that loses the reply of the first update."""

    def __init__(self) -> None:
        self.is_lost = False

    def __call__(self, request: Request) -> Fault:
        if self.is_lost or request.operation != "UpdateItem":
            return PASS
        self.is_lost = True
        return LOSE_REPLY


async def dead_letter_items(process: Process) -> int:
    return sum(key.p.startswith("d#") for key in await process.ledger.all_items())


async def test_dead_letter_that_is_settled_again_has_one_item(table: SharedTable) -> None:
    """Its execution could not be written at the first attempt, after its own item was."""
    member = await table.member()
    await member.record("a")
    token = (await member.tokens())["a"]
    member.proxy.plan = lambda request: LOSE_REQUEST if request.writes("x#") else PASS
    with pytest.raises(LedgerUnavailable):
        await member.die(token)
    member.proxy.plan = execute
    await member.ledger.settle([Dead(token, "MalformedDetail", "why")], now=NOON + SECOND, bus=BUS)
    assert await dead_letter_items(member) == 1
    assert [each.died_at for each in await member.ledger.dead_letters()] == [NOON + SECOND]


async def test_dead_letter_of_a_taken_over_member_leaves_no_item(table: SharedTable) -> None:
    paused, heir = await table.member(), await table.member()
    await paused.record("a")
    token = (await paused.tokens())["a"]
    await heir.take_over_dead()
    await paused.beat()
    await paused.die(token)
    assert await dead_letter_items(heir) == 0
    assert await table.verify() == Counters(recorded=1, pending=1)


@pytest.mark.parametrize("status", [b"{}", zlib.compress(b'{"pid": "of another version"}'), zlib.compress(b"[")])
async def test_status_of_an_unknown_version_stops_no_heartbeat(table: SharedTable, status: bytes) -> None:
    """In an update, processes of two versions share the table."""
    member, other = await table.member(), await table.member()
    item = await member.ledger.member_item(other.member_id)
    await member.ledger.put_item(member_key(other.member_id), {**item, "sv": status})
    fleet = await member.ledger.beat()
    assert [each.status for each in fleet.members if each.id == other.member_id] == [None]
