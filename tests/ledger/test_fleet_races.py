"""Requests of processes that share a table overlap in unlucky orders, and nothing is lost or counted twice."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from forwarder.errors import LedgerUnavailable
from forwarder.ledger import Counters
from forwarder.model import Checkpoint
from tests.factories import FEED, entry
from tests.harness.dynamodb_faults import DENIED, FAILED, LOSE_REPLY, PASS, THROTTLED, Hold, Request, execute
from tests.harness.dynamodb_proxy import DynamoProxy
from tests.ledger.fleet_table import BUS, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

DAY = timedelta(days=1)

SETTLE_SECONDS = 0.5
"""The time in which the requests that are not held are executed."""


def writes_execution(request: Request) -> bool:
    return request.writes("x#")


def puts_execution(request: Request) -> bool:
    return request.operation == "PutItem" and request.writes("x#")


def updates_execution(request: Request) -> bool:
    return request.operation == "UpdateItem" and request.writes("x#")


def hold(proxy: DynamoProxy, matches: Callable[[Request], bool]) -> Hold:
    """Hold the next request of a process that matches."""
    proxy.plan = plan = Hold(matches)
    return plan


async def test_late_record_between_the_writes_of_an_heir_is_adopted(table: SharedTable) -> None:
    """The heir finds the execution absent, and its owner records it before the heir does."""
    dying, heir = await table.member(), await table.member()
    await heir.beat()
    late = hold(dying.proxy, puts_execution)
    recording = asyncio.create_task(dying.record("a"))
    await late.reached.wait()
    recording_by_heir = hold(heir.proxy, puts_execution)
    taking_over = asyncio.create_task(heir.take_over_dead())
    await recording_by_heir.reached.wait()
    late.release()
    await recording
    recording_by_heir.release()
    await taking_over
    await dying.beat()
    assert set(await heir.claim()) == {"a"}
    assert await table.verify() == Counters(recorded=1, pending=1)


async def test_heartbeat_during_record_counts_it_once(table: SharedTable) -> None:
    member = await table.member()
    late = hold(member.proxy, puts_execution)
    recording = asyncio.create_task(member.record("a", "b"))
    await late.reached.wait()
    await member.beat()
    late.release()
    assert await recording == 2
    assert await member.ledger.counters() == Counters(recorded=2, pending=2)
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_take_over_that_never_began_is_made_later(table: SharedTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heir leaves before the first step of a take-over. It joins again, and takes over then."""
    dying, heir = await table.member(), await table.member()
    await dying.record("a")
    await dying.kill()
    take_over = heir.ledger._take_over_and_log  # noqa: SLF001  # no operation leaves between these two steps
    leaving: list[asyncio.Task[None]] = []

    def leave_first(*arguments: Any) -> Any:
        if not leaving:
            leaving.append(asyncio.create_task(heir.ledger.leave()))
        return take_over(*arguments)

    monkeypatch.setattr(heir.ledger, "_take_over_and_log", leave_first)
    await heir.take_over_dead()
    await asyncio.gather(*leaving)
    await heir.beat()
    assert len(leaving) == 1
    assert set(await heir.claim()) == {"a"}
    assert await table.verify() == Counters(recorded=1, pending=1)


async def test_cancelled_record_does_not_stop_others(table: SharedTable) -> None:
    """Commits that wait for an append are joined. One of them is cancelled meanwhile."""
    member = await table.member()
    await member.record("first")
    append = hold(member.proxy, lambda request: request.writes("j#"))
    holding = asyncio.create_task(member.record("holding"))
    await append.reached.wait()
    cancelled, other = asyncio.create_task(member.record("cancelled")), asyncio.create_task(member.record("other"))
    await asyncio.sleep(SETTLE_SECONDS)
    cancelled.cancel()
    append.release()
    async with asyncio.timeout(10):
        assert await holding == await other == 1
    await member.beat()
    for token in (await member.tokens()).values():
        await member.send(token)
    await member.beat()
    assert member.ledger.is_mark_at_end
    await table.verify()


@pytest.mark.parametrize("is_executed", [False, True])
async def test_failed_append_does_not_hold_the_mark(table: SharedTable, is_executed: bool) -> None:
    member = await table.member()
    await member.record("first")
    failing = FAILED if not is_executed else LOSE_REPLY
    member.proxy.plan = lambda request: failing if request.writes("j#") else PASS
    with pytest.raises(LedgerUnavailable):
        await member.record("a")
    member.proxy.plan = execute
    assert await member.record("a") == 1
    for token in (await member.tokens()).values():
        await member.send(token)
    await member.beat()
    assert member.ledger.is_mark_at_end
    assert await table.verify() == Counters(recorded=2, sent=2)


async def test_entry_sent_while_it_is_renewed_is_sent_once(table: SharedTable) -> None:
    member = await table.member()
    await member.record("a", "b")
    renewing = hold(member.proxy, updates_execution)
    renewal = asyncio.create_task(
        member.ledger.apply_retention(now=NOON + 20 * DAY, id_retention=90 * DAY, payload_retention=DAY)
    )
    await renewing.reached.wait()
    while not (tokens := await member.tokens(after=20 * DAY)):  # noqa: ASYNC110  # until the other entry is renewed
        await asyncio.sleep(0.01)
    for token in tokens.values():
        await member.send(token)
    renewing.release()
    await renewal
    assert not tokens.keys() & (await member.tokens(after=20 * DAY)).keys()
    await table.verify()


async def test_checkpoint_that_cannot_be_written_stops_no_heartbeat(table: SharedTable) -> None:
    member = await table.member()
    await member.ledger.add_feeds({FEED: Checkpoint()})
    await member.ledger.record(FEED, [], now=NOON, checkpoint=Checkpoint(NOON))
    member.ledger.set_now(NOON + DAY)
    member.proxy.plan = lambda request: DENIED if request.writes("f#") else PASS
    before = member.ledger.membership.beats
    await member.beat()
    assert member.ledger.membership.beats == before + 1
    member.proxy.plan = execute
    await member.leave()
    assert await (await table.start()).ledger.checkpoint(FEED) == Checkpoint(NOON)


async def test_attempt_and_heartbeat_make_a_transition_once(table: SharedTable) -> None:
    """A throttled recording is attempted again at the moment of a heartbeat, which also makes what is open."""
    member = await table.member()
    member.proxy.plan = lambda request: THROTTLED if writes_execution(request) else PASS
    with pytest.raises(LedgerUnavailable):
        await member.record("a", "b")
    member.proxy.plan = execute
    again = asyncio.create_task(member.ledger.record(FEED, [entry("a"), entry("b")], now=NOON))
    await member.beat()
    await again
    await member.beat()
    assert not member.ledger.membership.unresolved
    assert set(await member.claim()) == {"a", "b"}
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_transition_that_a_heartbeat_made_counts_once(table: SharedTable) -> None:
    """An attempt finds one entry journaled and appends another, while a heartbeat makes the first transition."""
    member = await table.member()
    await member.ledger.save_bus_verified(BUS, 0)
    await member.record("a", "b")
    tokens = await member.tokens()
    await member.send(tokens["a"])
    member.proxy.plan = lambda request: THROTTLED if writes_execution(request) else PASS
    with pytest.raises(LedgerUnavailable):
        await member.ledger.requeue(BUS, now=NOON)
    member.proxy.plan = execute
    await member.send(tokens["b"])
    appending = hold(member.proxy, lambda request: request.writes("j#"))
    requeuing = asyncio.create_task(member.ledger.requeue(BUS, now=NOON))
    await appending.reached.wait()
    await member.beat()
    appending.release()
    await requeuing
    await member.beat()
    assert set(await member.claim()) == {"a", "b"}
    assert await member.ledger.counters() == Counters(recorded=2, pending=2)
    assert await table.verify() == Counters(recorded=2, pending=2)
