"""The payloads of entries outlive their owner: large ones, old ones, and those with unusual ids."""

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from forwarder.ledger import Counters
from forwarder.ledger.dynamodb.schema import Place, digest, execution_key, journal, number_text
from forwarder.ledger.dynamodb.table import Key
from forwarder.ledger.models import UNDECODABLE
from forwarder.model import Checkpoint, Feed
from tests.factories import FEED, entry
from tests.ledger.fleet_table import Process, SharedTable
from tests.virtual_clock import NOON

pytestmark = pytest.mark.dynamodb

DAY = timedelta(days=1)

MAX_ITEM_BYTES = 400 * 1024


async def test_large_incompressible_entry_outlives_its_owner(table: SharedTable) -> None:
    """An entry of 1 MB takes several items, as an entry, and as a dead letter. No item exceeds the limit."""
    dying, heir = await table.member(), await table.member()
    large = b'"' + secrets.token_hex(500_000).encode() + b'"'
    await dying.ledger.add_feeds({FEED: Checkpoint()})
    await dying.ledger.record(FEED, [entry(each, detail=large) for each in ("a", "b")], now=NOON)
    await dying.die((await dying.tokens())["b"])
    dying_id = dying.member_id
    await dying.kill()
    await heir.ledger.take_over(dying_id)
    (dead_letter,) = await heir.ledger.dead_letters()
    assert dead_letter.entry.detail == large
    assert await heir.ledger.retry_dead_letters(None, now=NOON) == 1
    claimed = await heir.claim()
    assert {key: each.entry.detail == large for key, each in claimed.items()} == {"a": True, "b": True}
    for each in claimed.values():
        await heir.send(each.token)
    assert await heir.ledger.replay_executions(["b"], now=NOON) == 1
    assert (await heir.claim())["b"].entry.detail == large
    assert max(map(_size, (await heir.ledger.all_items()).values())) < MAX_ITEM_BYTES
    assert await table.verify() == Counters(recorded=2, pending=1, sent=1)


async def test_unusual_ids_are_kept_by_an_heir(table: SharedTable) -> None:
    ids = ["a/b c#%", "🫖" * 85, "\x00", "A", "a", "x/1/0 s", "~"]
    dying, heir = await table.member(), await table.member()
    await dying.record(*ids, feed=Feed("w/1 #~\x00", "🫖"))
    dying_id = dying.member_id
    await dying.kill()
    await heir.ledger.take_over(dying_id)
    assert sorted(await heir.claim()) == sorted(ids)
    assert await heir.ledger.find_feed(ids[0]) == Feed("w/1 #~\x00", "🫖")


async def test_old_pending_entry_is_stored_again(table: SharedTable) -> None:
    """An heir stores what it adopted again, before the items of the dead member expire."""
    dying, heir = await table.member(), await table.member()
    await dying.record("a")
    dying_id = dying.member_id
    await dying.kill()
    await heir.ledger.take_over(dying_id)
    await heir.ledger.apply_retention(now=NOON + 30 * DAY, id_retention=90 * DAY, payload_retention=DAY)
    await heir.beat()
    for key in await heir.ledger.all_items():
        if key.p == f"j#{dying_id}":
            await heir.ledger.delete_item(key)
    last = await table.member()
    await heir.leave()
    await last.beat()
    claimed = await last.claim(after=30 * DAY)
    assert claimed["a"].entry.detail == entry("a").detail
    assert await table.verify() == Counters(recorded=1, pending=1)


async def test_pending_entry_outlives_its_first_retention(table: SharedTable) -> None:
    """The retention is raised while the bus is missing for days. DynamoDB deletes what was to be kept for less."""
    member = await table.member()
    await member.record("a")
    now = NOON + 8 * DAY
    await member.ledger.apply_retention(now=now, id_retention=90 * DAY, payload_retention=60 * DAY)
    for key, item in (await member.ledger.all_items()).items():
        if item.get("expires", float("inf")) < (now + 2 * DAY).timestamp():
            await member.ledger.delete_item(key)
    member.ledger.forget_read_payloads()
    assert (await member.claim(after=10 * DAY))["a"].entry.detail == entry("a").detail


async def test_detail_of_another_execution_is_not_returned(table: SharedTable) -> None:
    member = await _member_with_overwritten_item(table)
    watcher, heir = await table.start(), await table.member()
    assert await watcher.ledger.stored_entry("a") is None
    stored = await watcher.ledger.stored_entry("b")
    assert stored is not None
    assert stored.entry == entry("b")
    member_id = member.member_id
    await member.kill()
    await heir.ledger.take_over(member_id)
    assert await heir.claim() == {}
    (dead_letter,) = await heir.ledger.dead_letters()
    assert (dead_letter.entry.execution_id, dead_letter.code) == ("a", UNDECODABLE)


async def test_sent_event_is_listed_without_the_detail_of_another(table: SharedTable) -> None:
    member = await _member_with_overwritten_item(table)
    watcher = await table.start()
    position = await watcher.ledger.last_activity()
    await member.send((await member.tokens())["a"])
    activity = await watcher.ledger.activity(position, 10)
    assert [(each.entry.execution_id, each.entry.detail) for each in activity.sent] == [("a", b"null")]


async def _member_with_overwritten_item(table: SharedTable) -> Process:
    """Start a process for which `a` is pending again. The journal item that recorded `a` holds `b` instead."""
    member = await table.member()
    for each in ("a", "b"):
        await member.record(each)
        await member.send((await member.tokens())[each])
    assert await member.ledger.replay_executions(["a"], now=NOON) == 1
    await member.beat()
    items = await member.ledger.all_items()
    places = [Place.of(items[execution_key(digest(each))]["pl"]) for each in ("a", "b")]
    key, other = (Key(journal(each.member), number_text(each.number)) for each in places)
    await member.ledger.put_item(key, items[other])
    return member


def _size(item: Mapping[str, Any]) -> int:
    return sum(len(name) + (len(value) if isinstance(value, str | bytes) else 32) for name, value in item.items())
