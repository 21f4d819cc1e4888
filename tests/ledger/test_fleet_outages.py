"""A table that refuses, throttles, freezes or answers in parts is an outage: nothing is lost, and no member ends."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from forwarder.cli import tail
from forwarder.errors import LedgerUnavailable
from forwarder.ledger import Counters, DaemonStatus
from forwarder.redaction import sanitize
from tests.harness.dynamodb_faults import (
    BUSY,
    DENIED,
    EXPIRED,
    FAILED,
    LOSE_REPLY,
    LOSE_REQUEST,
    MISSING,
    PARTIAL,
    PASS,
    THROTTLED,
    Fault,
    Plan,
    Request,
    always,
    execute,
    intercept,
    refuse,
    seeded,
)
from tests.ledger.fleet_table import Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

REFUSALS = [
    pytest.param(THROTTLED, "is throttled", "on demand adapts", id="throughput"),
    pytest.param(BUSY, "is throttled", "on demand adapts", id="throttled", marks=pytest.mark.long),
    pytest.param(FAILED, "fails", "wait", id="error 500"),
    pytest.param(refuse("ServiceUnavailable", 503), "fails", "wait", id="error 503", marks=pytest.mark.long),
    pytest.param(EXPIRED, "refuses the keys", "renew the AWS keys", id="expired"),
    pytest.param(
        refuse("UnrecognizedClientException"), "refuses the keys", "AWS keys", id="unknown key", marks=pytest.mark.long
    ),
    pytest.param(refuse("InvalidSignatureException"), "refuses the signature", "clock", id="signature"),
    pytest.param(DENIED, "denies access", "infra/identity.yaml", id="denied"),
    pytest.param(MISSING, "does not exist", "infra/ledger-table.yaml", id="missing"),
    pytest.param(LOSE_REQUEST, "cannot be used", "", id="connection"),
    pytest.param(intercept(200, b"<html>blocked</html>"), "cannot be decoded", "an intermediary", id="page"),
    pytest.param(
        intercept(200, b'{"status":"ok"}'), "cannot be decoded", "an intermediary", id="foreign", marks=pytest.mark.long
    ),
    pytest.param(intercept(403, b"<html>blocked</html>"), "not AWS", "an intermediary", id="forbidden page"),
    pytest.param(refuse("ReplicatedWriteConflictException"), "has a conflict", "docs/fleet.md", id="conflict"),
]


def no_heartbeats(fault: Fault) -> Plan:
    return lambda request: fault if request.writes("m") else PASS


@pytest.mark.parametrize(("fault", "cause", "hint"), REFUSALS)
async def test_refused_request_names_the_table_and_the_cause(
    table: SharedTable, fault: Fault, cause: str, hint: str
) -> None:
    member = await table.member()
    await member.record("a")
    token = (await member.tokens())["a"]
    member.proxy.plan = always(fault)
    operations: list[Callable[[], Awaitable[object]]] = [
        member.beat,
        lambda: member.record("b"),
        lambda: member.send(token),
        member.ledger.dead_letters,
    ]
    for operation in operations:
        with pytest.raises(LedgerUnavailable) as failure:
            await operation()
        assert table.name in failure.value.message
        assert cause in failure.value.message
        assert hint in failure.value.hint
        assert sanitize(failure.value.message) == failure.value.message, "nothing of it looks like a secret in the log"
    member.proxy.plan = execute
    assert await member.record("a", "b") <= 1
    await member.send(token)
    await member.beat()
    assert set(await member.claim()) == {"b"}
    assert await table.verify() == Counters(recorded=2, pending=1, sent=1)


async def test_table_that_cannot_be_written_ends_no_member(table: SharedTable) -> None:
    members = [await table.member() for _ in range(2)]
    await members[0].record("a")
    for member in members:
        await member.beat()
    names = {member.member_id for member in members}
    for fault in (THROTTLED, LOSE_REQUEST):
        for member in members:
            member.proxy.plan = no_heartbeats(fault)
        for _ in range(8):
            for member in members:
                with pytest.raises(LedgerUnavailable):
                    await member.beat()
    for member in members:
        member.proxy.plan = execute
    for member in members:
        assert {each.id for each in (await member.ledger.beat()).members} == names
    assert await table.verify() == Counters(recorded=1, pending=1)


async def test_frozen_table_ends_no_member_and_loses_nothing(table: SharedTable) -> None:
    members = [await table.member() for _ in range(2)]
    for member in members:
        member.proxy.freeze()
    records = [asyncio.create_task(each.record("a", "b")) for each in members]
    heartbeats = [asyncio.create_task(each.beat()) for each in members]
    done, _ = await asyncio.wait([*records, *heartbeats], timeout=1)
    assert not done
    for member in members:
        member.proxy.thaw()
    await asyncio.gather(*heartbeats)
    assert sum(await asyncio.gather(*records)) == 2
    assert len((await members[0].ledger.beat()).members) == 2
    assert await table.verify() == Counters(recorded=2, pending=2)


async def test_partial_responses_are_completed(table: SharedTable) -> None:
    ids = [f"e-{number}" for number in range(110)]
    dying, heir = await table.member(), await table.member()
    dying.proxy.plan = heir.proxy.plan = always(PARTIAL)
    await dying.record(*ids)
    assert await heir.ledger.known_ids([*ids, "unknown"]) == set(ids)
    dying_id = dying.member_id
    await dying.kill()
    await heir.ledger.take_over(dying_id)
    assert set(await heir.claim()) == set(ids)
    await heir.beat()
    assert await table.verify() == Counters(recorded=110, pending=110)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 20))])
async def test_faults_at_random_lose_nothing(table: SharedTable, seed: int) -> None:
    members = [await table.member() for _ in range(2)]
    rates = [(0.05, THROTTLED), (0.05, LOSE_REPLY), (0.05, LOSE_REQUEST), (0.02, FAILED), (0.2, PARTIAL)]
    for index, member in enumerate(members):
        member.proxy.plan = seeded(10 * seed + index, rates)
    ids = [f"e-{number}" for number in range(30)]
    sent: set[str] = set()
    for _ in range(4):
        await asyncio.gather(*(attempt(each, ids, sent) for each in members))
    for member in members:
        member.proxy.plan = execute
        await attempt(member, ids, sent)
    await asyncio.gather(*(each.beat() for each in members))
    await asyncio.gather(*(attempt(each, ids, sent) for each in members))
    await asyncio.gather(*(each.beat() for each in members))
    assert sent == set(ids)
    assert await table.verify() == Counters(recorded=30, sent=30)


async def attempt(member: Process, ids: list[str], sent: set[str]) -> None:
    """Record and send what is possible during the faults."""
    try:
        await member.beat()
        await member.record(*ids)
        for execution_id, token in (await member.tokens()).items():
            sent.add(execution_id)
            for _ in range(5):
                try:
                    await member.send(token)
                    break
                except LedgerUnavailable:
                    continue
    except LedgerUnavailable:
        return


async def test_switch_is_read_after_a_heartbeat_that_failed(table: SharedTable) -> None:
    """The loop that writes heartbeats begins only when the switch is known."""
    member = await table.start()
    member.proxy.plan = lambda request: THROTTLED if request.operation == "UpdateItem" and is_member(request) else PASS
    with pytest.raises(LedgerUnavailable):
        await member.beat()
    with pytest.raises(LedgerUnavailable):
        await member.beat()
    member.proxy.plan = execute
    assert await member.ledger.saved_switch() is True


async def test_status_is_not_saved_between_two_heartbeats_of_an_outage(table: SharedTable) -> None:
    """Otherwise the ledger would count as healthy again and again until the next heartbeat fails."""
    member = await table.member()
    await member.ledger.save_daemon_status(DaemonStatus(NOON, 1, {}), {})
    member.proxy.plan = always(FAILED)
    with pytest.raises(LedgerUnavailable):
        await member.record("a")
    with pytest.raises(LedgerUnavailable, match="fails"):
        await member.ledger.save_daemon_status(DaemonStatus(NOON, 1, {}), {})
    member.proxy.plan = execute
    await member.beat()
    await member.ledger.save_daemon_status(DaemonStatus(NOON, 1, {}), {})


async def test_tail_goes_on_after_an_outage(
    table: SharedTable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tail, "RETRY_SECONDS", 0.01)
    member, follower = await table.member(), await table.start()
    position, stop = await follower.ledger.last_activity(), asyncio.Event()
    refused = 0

    def fail_three_times(_: Request) -> Fault:
        nonlocal refused
        refused += 1
        return DENIED if refused <= 3 else PASS

    await member.record("a")
    follower.proxy.plan = fail_three_times
    async with aclosing(tail.changes_after(follower.ledger, position, stop)) as changes:
        kind, stored = await anext(changes)
    assert (kind, stored.entry.execution_id) == ("found", "a")
    assert capsys.readouterr().err.count("waiting: ") == 1


async def test_process_that_left_in_an_outage_can_save_its_status(table: SharedTable) -> None:
    """It was switched off while its heartbeat failed. Otherwise it would report the outage until it is switched on."""
    member = await table.member()
    member.proxy.plan = always(FAILED)
    with pytest.raises(LedgerUnavailable):
        await member.beat()
    await member.ledger.leave()
    with pytest.raises(LedgerUnavailable):
        await member.ledger.save_daemon_status(DaemonStatus(NOON, 1, {}), {})
    member.proxy.plan = execute
    await member.ledger.save_daemon_status(DaemonStatus(NOON, 1, {}), {})


def is_member(request: Request) -> bool:
    return request.writes("m") and "!ledger" not in request.body.decode()
