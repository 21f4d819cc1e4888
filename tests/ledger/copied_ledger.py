"""A ledger in a file with executions in every state, and its copy into a table."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from forwarder.ledger import (
    DaemonStatus,
    Dead,
    DeadLetter,
    Ledger,
    PollResult,
    Postponed,
    RetentionGap,
    Sent,
    Settlement,
    SqliteLedger,
)
from forwarder.ledger.copy import LedgerCopy
from forwarder.ledger.dynamodb import DynamoLedger
from forwarder.ledger.dynamodb.executions import Retention
from forwarder.model import Checkpoint, Feed, Token
from forwarder.settings.validators.ledger_url import TableLocation
from tests.factories import entry
from tests.harness.dynalite import new_ledger_url, running_dynalite, table_client

START = datetime.now(UTC).replace(microsecond=123) - timedelta(days=20)
"""The table's own retention compares with the machine's clock."""

DAY = timedelta(days=1)
FEEDS = (Feed("w"), Feed("v", "user"))
RETENTION = Retention(timedelta(days=90), 7 * DAY)
BUS = "failures"


def ids(kind: str, count: int) -> list[str]:
    return [f"{kind}-{number}" for number in range(count)]


BATCH_ROWS = 10
"""The copy reads this many rows at once here, so that few executions take several batches. A request takes 10 ms."""

SENT, EXPIRED, PENDING = ids("sent", 15), ids("expired", 12), ids("pending", 13)
PURGED, DEAD = ids("purged", 3), ids("dead", 4)


def settlement_of(token: Token, outcome: str, now: datetime) -> Settlement:
    if outcome == "sent":
        return Sent(token, f"event of {token}")
    if outcome == "dead":
        return Dead(token, "MalformedDetail", "it is malformed")
    return Postponed(token, "Odd", now + timedelta(hours=1), unclassified_attempt=True)


async def settle(ledger: Ledger, wanted: list[str], outcome: str, now: datetime) -> None:
    every = await ledger.claim(1000, now=now)
    claimed = [each for each in every if each.entry.execution_id in wanted]
    assert len(claimed) == len(wanted)
    await ledger.settle([settlement_of(each.token, outcome, now) for each in claimed], now=now, bus=BUS)
    ledger.release([each.token for each in every])


def detail_of(execution_id: str) -> bytes:
    """Return a detail. One of a pending entry takes several items."""
    size = 350_000 if execution_id == PENDING[3] else 1000
    filling = Random(execution_id).randbytes(size).hex()  # noqa: S311  # test data
    return f'{{"id":"{execution_id}","filling":"{filling}"}}'.encode()


async def record(ledger: Ledger, execution_ids: list[str], now: datetime, feed: Feed = FEEDS[0]) -> None:
    entries = [
        replace(entry(each), feed=feed, time=now - timedelta(seconds=5), detail=detail_of(each))
        for each in execution_ids
    ]
    await ledger.record(feed, entries, now=now, checkpoint=Checkpoint(watermark=now, open_executions={"open": START}))


async def fill(ledger: Ledger) -> None:
    """Fill a ledger with executions of each state."""
    await ledger.add_feeds({feed: Checkpoint(floor=START - DAY) for feed in FEEDS}, discovered_at=START)
    await record(ledger, [*EXPIRED, *PURGED], START)
    await settle(ledger, EXPIRED, "sent", START)
    await settle(ledger, PURGED, "dead", START)
    await ledger.purge_dead_letters(PURGED)
    while await ledger.apply_retention(now=START + 10 * DAY, id_retention=90 * DAY, payload_retention=7 * DAY):
        pass
    now = START + 15 * DAY
    await record(ledger, SENT, now)
    await settle(ledger, SENT, "sent", now + timedelta(seconds=1))
    await record(ledger, DEAD, now, FEEDS[1])
    await settle(ledger, DEAD, "dead", now + timedelta(seconds=2))
    await ledger.replay_executions(SENT[:2], now=now + timedelta(seconds=3))
    await record(ledger, PENDING, now, FEEDS[1])
    await settle(ledger, PENDING[:1], "postponed", now + timedelta(seconds=4))
    await ledger.save_watched([FEEDS[1]])
    poll = PollResult(now, "", 5.0, "its failure rate")
    await ledger.save_daemon_status(DaemonStatus(now, 1), {FEEDS[1]: poll})
    await ledger.save_retention_gap(RetentionGap(START, ("w",), 1, START + DAY))
    await ledger.save_switch(enabled=False, skip=False, now=now)
    await ledger.save_bus_verified(BUS, await ledger.last_settlement_seq())


def filled_ledger(folder: Path) -> Path:
    """Create a ledger with executions in every state, and return its file."""
    file = folder / "forwarder.db"

    async def create() -> None:
        async with SqliteLedger(file, create=True) as ledger:
            await fill(ledger)

    asyncio.run(create())
    return file


def copy_of(file: Path) -> LedgerCopy:
    """Return a copy of a file into a new table, which is not begun."""
    endpoint_url, location = running_dynalite().endpoint_url, TableLocation.of(new_ledger_url())
    return LedgerCopy(file, location, lambda: table_client(endpoint_url), RETENTION)


def opened(copy: LedgerCopy) -> DynamoLedger:
    return DynamoLedger(copy.location, copy.connect, RETENTION)


def execution_id_of(letter: DeadLetter) -> str:
    return letter.entry.execution_id


def ignore(_done: int, _total: int) -> None:
    """Show no progress."""
