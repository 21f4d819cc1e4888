"""The counters that a command reads, which is no member and takes nothing over."""

from datetime import timedelta

import pytest

from forwarder.ledger import Counters
from forwarder.ledger.dynamodb.member_list import MISSED_HEARTBEATS
from tests.harness.dynamodb_faults import PASS, Fault, Request
from tests.ledger.fleet_table import Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb


async def settle_one_of_two(table: SharedTable) -> Process:
    """Return a process that recorded two executions and sent one since its last heartbeat."""
    process = await table.member()
    await process.record("sent", "pending")
    await process.send((await process.tokens())["sent"])
    return process


async def counted_by_command(table: SharedTable, *, later: timedelta) -> Counters:
    command = await table.start()
    command.ledger.set_now(NOON + later)
    return await command.ledger.counters()


DEAD_AFTER = timedelta(seconds=60 * MISSED_HEARTBEATS + 1)


async def test_command_counts_what_a_killed_process_left(table: SharedTable) -> None:
    """No other process runs, and the events that it left must not be invisible until one does."""
    await (await settle_one_of_two(table)).kill()
    assert await counted_by_command(table, later=DEAD_AFTER) == Counters(recorded=2, sent=1, pending=1)


async def test_command_reads_no_journal_of_living_processes(table: SharedTable) -> None:
    """Their next heartbeats write what they count."""
    process = await settle_one_of_two(table)
    assert await counted_by_command(table, later=timedelta(seconds=60)) == Counters()
    await process.beat()
    assert await counted_by_command(table, later=timedelta(seconds=60)) == Counters(recorded=2, sent=1, pending=1)


async def test_command_counts_inherited_entries_once(table: SharedTable) -> None:
    """The heir of a dead process died as well, before a heartbeat."""
    dead, heir = await settle_one_of_two(table), await table.member()
    dead_id = dead.member_id
    await dead.kill()
    await heir.ledger.take_over(dead_id)
    await heir.kill()
    assert await counted_by_command(table, later=DEAD_AFTER) == Counters(recorded=2, sent=1, pending=1)


async def test_journal_of_a_dead_process_is_read_once(table: SharedTable) -> None:
    """A process that is switched off takes nobody over, and its page asks for the counters all the time."""
    await (await settle_one_of_two(table)).kill()
    paused = await table.start()
    paused.ledger.set_now(NOON + DEAD_AFTER)
    first = await paused.ledger.counters()
    queries: list[str] = []

    def note(request: Request) -> Fault:
        queries.append(request.operation)
        return PASS

    paused.proxy.plan = note
    assert await paused.ledger.counters() == first == Counters(recorded=2, sent=1, pending=1)
    assert queries == ["Query"]
