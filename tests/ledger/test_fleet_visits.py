"""The renewal of pending entries while all processes are switched off: a process that has left visits once a day."""

import asyncio
from datetime import datetime, timedelta

import pytest

from forwarder.errors import LedgerUnavailable
from forwarder.ledger.dynamodb import retention
from forwarder.ledger.dynamodb.journal_items import expiry
from forwarder.ledger.dynamodb.schema import (
    LEDGER,
    MEMBERS,
    Place,
    digest,
    execution_key,
    journal,
    number_text,
)
from forwarder.ledger.dynamodb.table import Key
from forwarder.model import ClaimedEntry
from tests.harness.dynamodb_faults import FAILED, PASS, Fault, execute
from tests.ledger.fleet_table import Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

DAY = timedelta(days=1)
RETENTION = {"id_retention": 90 * DAY, "payload_retention": DAY}


async def check_an_hour_before(process: Process, now: datetime) -> None:
    """Check the members for the first time. The second check, at `now`, finds those that stood still meanwhile."""
    await process.ledger.apply_retention(now=now - timedelta(hours=1), **RETENTION)
    process.ledger.set_now(now)


async def test_pending_events_outlive_a_fleet_that_is_off_for_weeks(table: SharedTable) -> None:
    """All processes run, and have left. Without renewals, the journal would expire after nine days."""
    members = [await table.member() for _ in range(2)]
    await members[0].record("a")
    for each in members:
        await each.ledger.leave()
    for hour in range(0, 20 * 24, 20):
        now = NOON + timedelta(hours=hour)
        for each in members:
            each.ledger.set_now(now)
            assert not await each.ledger.apply_retention(now=now, **RETENTION)
        expired = [
            key
            for key, item in (await members[0].ledger.all_items()).items()
            if key.p.startswith("j#") and item.get("expires", now.timestamp() + 1) <= now.timestamp()
        ]
        for key in expired:
            await members[0].ledger.delete_item(key)  # as DynamoDB does
    heir = await table.start()
    heir.ledger.set_now(now)
    await heir.beat()
    claimed = await heir.claim(after=20 * DAY)
    assert {key: each.entry.detail for key, each in claimed.items()} == {"a": b'{"executionId":"a"}'}


@pytest.mark.parametrize("beats", [0, 1])
async def test_entries_of_a_process_killed_before_a_pause_are_renewed(table: SharedTable, beats: int) -> None:
    """Nobody has taken it over when all processes are switched off, and its last heartbeat may name no entries."""
    killed, paused = await table.member(), await table.member()
    await killed.record("a")
    await killed.beat(beats)
    await killed.kill()
    await paused.ledger.leave()
    await pass_days(paused, 0, 21)
    assert set(await claimed_after(table, 21)) == {"a"}


async def test_entries_are_renewed_after_a_visit_that_failed(table: SharedTable) -> None:
    """The last heartbeat of the visitor is lost in an outage of seconds, or its process ends before it."""
    paused = await table.member()
    await paused.record("a")
    await paused.ledger.leave()
    paused.proxy.plan = lambda request: FAILED if b":lf" in request.body else PASS
    with pytest.raises(LedgerUnavailable):
        await pass_days(paused, 0, 2)
    paused.proxy.plan = execute
    await pass_days(paused, 2, 30)
    assert set(await claimed_after(table, 30)) == {"a"}


async def pass_days(process: Process, first: int, last: int) -> None:
    """Check the retention every 20 hours, and delete what has expired, as DynamoDB does."""
    for hour in range(first * 24, last * 24, 20):
        now = NOON + timedelta(hours=hour)
        process.ledger.set_now(now)
        await process.ledger.apply_retention(now=now, **RETENTION)
        for key, item in (await process.ledger.all_items()).items():
            if item.get("expires", now.timestamp() + 1) <= now.timestamp():
                await process.ledger.delete_item(key)


async def claimed_after(table: SharedTable, days: int) -> dict[str, ClaimedEntry]:
    """Return the entries that a process claims which starts after so many days."""
    heir = await table.start()
    heir.ledger.set_now(NOON + timedelta(days=days))
    await heir.take_over_dead()
    return await heir.claim(after=timedelta(days=days))


async def test_visits_of_processes_that_left_are_rare(table: SharedTable) -> None:
    """Each of them checks hourly. One visit a day is enough."""
    members = [await table.member() for _ in range(3)]
    await members[0].record("a")
    for each in members:
        await each.ledger.leave()
    reader = await table.start()
    for hour in range(25):
        for each in members:
            now = NOON + timedelta(hours=hour)
            each.ledger.set_now(now)
            await each.ledger.apply_retention(now=now, **RETENTION)
    assert len([key for key in await reader.ledger.all_items() if key.p == MEMBERS and key != LEDGER]) == 3
    now = NOON + timedelta(hours=26)
    for each in members:
        each.ledger.set_now(now)
        await each.ledger.apply_retention(now=now, **RETENTION)
    assert len([key for key in await reader.ledger.all_items() if key.p == MEMBERS and key != LEDGER]) == 4


async def test_daemon_that_starts_during_a_visit_keeps_its_entries(table: SharedTable) -> None:
    """The visitor is another member, which adopts them later or before. Nothing in flight changes its owner."""
    old = await table.member()
    await old.record(*[f"e-{number}" for number in range(40)])
    await old.ledger.leave()
    now = NOON + 3 * DAY
    started = await table.start()
    await check_an_hour_before(started, now)
    started.proxy.plan = lambda _: Fault(delay_seconds=0.02)
    visit = asyncio.create_task(started.ledger.apply_retention(now=now, **RETENTION))
    await asyncio.sleep(0.1)
    await started.beat()
    member_id, claimed = started.member_id, await started.claim(10, after=3 * DAY)
    await visit
    assert started.member_id == member_id
    assert started.ledger.owns([each.token for each in claimed.values()])
    await started.beat()  # it adopts what the visitor has left
    rest = await started.claim(after=3 * DAY)
    assert not rest.keys() & claimed.keys()
    assert len(rest) + len(claimed) == 40


async def test_process_that_starts_does_not_visit(table: SharedTable) -> None:
    """It joins in a moment, and takes the entries over itself."""
    old = await table.member()
    await old.record("a")
    await old.ledger.leave()
    started = await table.start()
    started.ledger.set_now(NOON + 3 * DAY)
    await started.ledger.apply_retention(now=NOON + 3 * DAY, **RETENTION)
    assert len([key for key in await started.ledger.all_items() if key.p == MEMBERS and key != LEDGER]) == 1


async def test_visit_does_not_end_when_the_process_leaves(table: SharedTable) -> None:
    """A process that is switched off leaves again and again, in case that it has joined."""
    old = await table.member()
    await old.record(*[f"e-{number}" for number in range(300)])
    await old.ledger.leave()
    now = NOON + 5 * DAY
    paused = await table.start()
    await check_an_hour_before(paused, now)
    paused.proxy.plan = lambda _: Fault(delay_seconds=0.005)
    visit = asyncio.create_task(paused.ledger.apply_retention(now=now, **RETENTION))
    while not visit.done():
        await paused.ledger.leave()
        await asyncio.sleep(0.02)
    await visit
    items = await paused.ledger.all_items()
    places = [Place.of(item["pl"]) for key, item in items.items() if key.p.startswith("x#")]
    assert {items[Key(journal(each.member), number_text(each.number))]["expires"] for each in places} == {
        expiry(now, DAY)
    }


async def test_pending_events_of_a_killed_process_are_renewed(table: SharedTable) -> None:
    """It was killed just before all others were switched off, so that nobody has taken it over."""
    killed, paused = await table.member(), await table.member()
    await killed.record("a")
    await killed.beat()
    await killed.kill()
    await paused.ledger.leave()
    for day in range(20):
        for hour in range(3):
            now = NOON + day * DAY + timedelta(hours=hour)
            paused.ledger.set_now(now)
            await paused.ledger.apply_retention(now=now, **RETENTION)
    items = await paused.ledger.all_items()
    (place,) = (Place.of(item["pl"]) for key, item in items.items() if key.p.startswith("x#"))
    assert items[Key(journal(place.member), number_text(place.number))]["expires"] > now.timestamp()


async def test_visit_ends_although_payloads_are_missing(table: SharedTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cannot be renewed. The others are."""
    monkeypatch.setattr(retention, "MAX_RENEWED_ENTRIES", 2)
    old = await table.member()
    for name in "abc":
        await old.record(name)
    await old.record("d")
    await old.ledger.leave()
    items = await old.ledger.all_items()
    for name in "ab":
        lost = Place.of(items[execution_key(digest(name))]["pl"])
        await old.ledger.delete_item(Key(journal(lost.member), number_text(lost.number)))
    visitor = await table.start()
    now = NOON + 5 * DAY
    await check_an_hour_before(visitor, now)
    async with asyncio.timeout(20):
        await visitor.ledger.apply_retention(now=now, **RETENTION)
    items = await visitor.ledger.all_items()
    place = Place.of(items[execution_key(digest("d"))]["pl"])
    assert items[Key(journal(place.member), number_text(place.number))]["expires"] == expiry(now, DAY)
