"""A process dies at any request, or loses any reply: nothing is lost, settled twice or counted wrongly."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import TypeVar

import pytest

from forwarder.errors import LedgerUnavailable
from forwarder.ledger import Counters
from forwarder.ledger.dynamodb import table as requests
from forwarder.ledger.dynamodb import takeover
from forwarder.ledger.dynamodb.takeover import MAX_GROUP_ENTRIES
from tests.harness.dynamodb_faults import LOSE_REPLY, LOSE_REQUEST, PASS, Plan
from tests.ledger.fleet_table import BUS, Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

T = TypeVar("T")

MAX_REPEATS = 8


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each lost reply reach the caller."""
    monkeypatch.setattr(requests, "MAX_ATTEMPTS", 1)


def from_request(number: int, last: int | None = None) -> Plan:
    """Return a plan that lets the first requests pass. Without `last`, nothing arrives after them."""
    if last is None:
        return lambda request: LOSE_REQUEST if request.number > number else PASS
    return lambda request: LOSE_REPLY if number < request.number <= last else PASS


async def repeat(operation: Callable[[], Awaitable[T]]) -> T:
    for _ in range(MAX_REPEATS):
        try:
            return await operation()
        except LedgerUnavailable:
            continue
    raise AssertionError("the operation fails each time")


async def whole_life(process: Process) -> None:
    """Record, postpone, settle, retry, purge and replay entries."""
    ledger = process.ledger
    await repeat(process.beat)
    await repeat(lambda: process.record("sent", "retried", "purged", "postponed"))
    await repeat(process.beat)  # if a reply was lost, it is known only now who owns the entries
    await repeat(lambda: ledger.save_bus_verified(BUS, 0))
    tokens = await repeat(process.tokens)
    await repeat(lambda: process.postpone(tokens["postponed"], NOON))
    for each in ("retried", "purged"):
        await repeat(lambda token=tokens[each]: process.die(token))  # type: ignore[misc]
    await repeat(lambda: process.send(tokens["sent"]))
    await repeat(lambda: ledger.retry_dead_letters(["retried"], now=NOON))
    await repeat(lambda: ledger.purge_dead_letters(["purged"]))
    await repeat(lambda: ledger.replay_executions(["sent"], now=NOON))
    await repeat(process.beat)
    tokens = await repeat(process.tokens)
    await repeat(lambda: process.send(tokens["retried"]))
    await repeat(lambda: ledger.requeue(BUS, now=NOON))
    await repeat(process.beat)


WHOLE_LIFE = Counters(recorded=4, pending=3, purged=1)


async def count_requests(process: Process) -> int:
    """Return the number of requests of a whole life without faults."""
    await whole_life(process)
    return process.proxy.count


@pytest.mark.usefixtures("no_retries")
@pytest.mark.parametrize(("first", "step"), [(2, 9), pytest.param(1, 1, marks=pytest.mark.long)])
async def test_each_lost_reply_changes_nothing(table: SharedTable, first: int, step: int) -> None:
    last = await count_requests(await table.start())
    assert await table.verify() == WHOLE_LIFE
    for number in range(first, last, step):
        one = await table.another()
        process = await one.start()
        process.proxy.plan = from_request(number, number + 1)
        await whole_life(process)
        assert await process.ledger.counters() == WHOLE_LIFE, number
        assert await one.verify() == WHOLE_LIFE, number


@pytest.mark.long
async def test_request_that_is_repeated_in_vain_changes_nothing(table: SharedTable) -> None:
    """Four replies are lost one after the other, so that the caller gets an error for a request that was executed."""
    last = await count_requests(await table.start())
    for number in range(1, last):
        one = await table.another()
        process = await one.start()
        process.proxy.plan = from_request(number, number + requests.MAX_ATTEMPTS)
        await whole_life(process)
        assert await one.verify() == WHOLE_LIFE, number


async def leave_much(table: SharedTable) -> Process:
    """Let a member die with entries in all states."""
    dying = await table.member()
    await dying.ledger.save_bus_verified(BUS, 0)
    await dying.record("pending", "sent", "dead", "retried")
    tokens = await dying.tokens()
    await dying.send(tokens["sent"])
    await dying.die(tokens["dead"])
    await dying.die(tokens["retried"])
    await dying.ledger.retry_dead_letters(["retried"], now=NOON)
    return dying


@pytest.mark.usefixtures("no_retries")
@pytest.mark.parametrize(
    ("first", "step", "group"),
    [(2, 5, MAX_GROUP_ENTRIES), *(pytest.param(1, 1, each, marks=pytest.mark.long) for each in (1, MAX_GROUP_ENTRIES))],
)
async def test_heir_that_dies_at_any_request_has_an_heir(
    table: SharedTable, monkeypatch: pytest.MonkeyPatch, first: int, step: int, group: int
) -> None:
    """The mark of the dead member is saved after each group of entries, so its next heir goes on there."""
    monkeypatch.setattr(takeover, "MAX_GROUP_ENTRIES", group)
    is_complete, marks = False, set[int]()
    for number in count(first, step):
        if is_complete:
            break
        one = await table.another()
        dying = await leave_much(one)
        heir, second = await one.member(), await one.member()
        dying_id, heir_id, before = dying.member_id, heir.member_id, heir.proxy.count
        await dying.kill()
        heir.proxy.plan = from_request(before + number)
        with suppress(LedgerUnavailable):
            await heir.ledger.take_over(dying_id)
        is_complete = heir.proxy.count < before + number
        await heir.kill()
        marks.add((await second.ledger.member_item(dying_id))["mk"])
        await second.ledger.take_over(heir_id)
        if "gone" not in await second.ledger.member_item(dying_id):
            await second.ledger.take_over(dying_id)
        assert await second.ledger.unverified_buses() == [BUS], number
        assert await second.ledger.requeue(BUS, now=NOON) == 1
        tokens = await second.tokens()
        assert set(tokens) == {"pending", "retried", "sent"}, number
        for each in tokens.values():
            await second.send(each)
        await second.beat()
        assert await one.verify() == Counters(recorded=4, sent=3, dead=1), number
    assert number > 8
    assert group > 1 or len(marks) > 2
