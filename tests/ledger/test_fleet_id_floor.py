"""The floor of the ids, which keeps an execution from being recorded again after DynamoDB has deleted its id."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from forwarder.ledger.codec import to_micros
from forwarder.ledger.dynamodb.schema import LEDGER
from forwarder.model import Checkpoint
from tests.factories import FEED, entry
from tests.harness.dynamodb_faults import Fault, Hold, always
from tests.ledger.fleet_table import Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

DAY = timedelta(days=1)


async def apply_retention(process: Process, now: datetime, id_retention: timedelta = 90 * DAY) -> None:
    process.ledger.set_now(now)
    await process.ledger.apply_retention(now=now, id_retention=id_retention, payload_retention=DAY)


async def ledger_item(process: Process) -> dict[str, Any]:
    return (await process.ledger.all_items())[LEDGER]


async def test_execution_in_a_quiet_ledger_is_recorded_once(table: SharedTable) -> None:
    """Nothing new is listed for months, and the API still lists a failure after DynamoDB has deleted its id."""
    member = await table.member()
    await apply_retention(member, NOON)
    await member.record("a")
    await member.read_feed()
    await member.send((await member.tokens())["a"])
    await member.leave()
    later = await table.member()
    await apply_retention(later, NOON + 100 * DAY)
    assert await later.ledger.known_ids(["a"]) == set()
    assert await later.record("a") == 0


async def test_clock_ahead_of_the_table_raises_no_floor(table: SharedTable) -> None:
    """A clock that is years ahead for a minute must not exclude the failures of these years."""
    member = await table.member()
    await apply_retention(member, NOON)
    member.proxy.plan = always(Fault(date=datetime.now(UTC) - 800 * DAY))
    await apply_retention(member, NOON + 800 * DAY)
    member.ledger.set_now(NOON)
    await member.ledger.add_feeds({FEED: Checkpoint()})
    assert await member.ledger.record(FEED, [entry("a", time=NOON)], now=NOON) == 1


async def test_floor_follows_the_shorter_of_two_retentions(table: SharedTable) -> None:
    """The settings of two processes differ. One reads the ledger's item, and writes it after the other has."""
    shorter, longer = await table.member(), await table.member()
    await apply_retention(shorter, NOON, 10 * DAY)
    longer.proxy.plan = hold = Hold(lambda request: request.writes("m"))
    late = asyncio.create_task(apply_retention(longer, NOON + 30 * DAY))
    await hold.reached.wait()
    await apply_retention(shorter, NOON + 30 * DAY, 10 * DAY)
    hold.release()
    await late
    before = (await ledger_item(shorter))["id_floor"]
    assert before > to_micros(NOON + 19 * DAY)
    # Its next call does not wait for an hour, and keeps the shorter retention.
    await apply_retention(longer, NOON + 30 * DAY + timedelta(minutes=1))
    assert (await ledger_item(longer))["id_floor"] > before
