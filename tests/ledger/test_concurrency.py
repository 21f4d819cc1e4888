"""One ledger file with several processes and tasks, and with processes that are killed."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from forwarder.errors import LedgerError
from forwarder.ledger import Counters, Sent, SqliteLedger
from forwarder.ledger.sqlite import metadata
from forwarder.ledger.sqlite.traffic import UnsavedTraffic
from forwarder.ledger.sqlite.writer import Writer
from forwarder.model import Checkpoint, Feed
from tests.factories import FEED, entry
from tests.ledger.contract import DAY, HOUR, apply_all_retention, claim_tokens, record_ids
from tests.ledger.ledger_files import counters, create_ledger
from tests.virtual_clock import NOON


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.db"
    create_ledger(file, 1)
    return file


async def test_write_waits_for_lock_of_other_process(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.3, other.execute, "ROLLBACK")
        assert await record_ids(ledger, "new") == 1
        other.close()


async def test_failed_job_rolls_back_alone(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        feeds = [FEED] * 10 + [Feed("unknown")] + [FEED] * 10
        results = await asyncio.gather(
            *(ledger.record(feed, [entry(f"n-{number}")], now=NOON) for number, feed in enumerate(feeds)),
            return_exceptions=True,
        )
        assert [isinstance(result, LedgerError) for result in results] == [feed != FEED for feed in feeds]
        assert await ledger.audit() == Counters(recorded=21, pending=21)


async def test_cancelled_record_is_complete_or_absent(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        tasks = [asyncio.create_task(ledger.record(FEED, [entry(f"n-{number}")], now=NOON)) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ids = {f"n-{number}" for number in range(20)}
        known_ids = await ledger.known_ids(ids)
        assert {f"n-{number}" for number in range(1, 20, 2)} <= known_ids <= ids
        assert (await ledger.audit()).recorded == 1 + len(known_ids)


async def test_closed_ledger_refuses_work(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        pass
    with pytest.raises(LedgerError, match="closed"):
        await ledger.counters()


RECORDER = """
import asyncio, sys
from pathlib import Path
from forwarder.ledger import SqliteLedger
from forwarder.model import Checkpoint
from tests.virtual_clock import NOON
from tests.factories import FEED, entry

async def record():
    async with SqliteLedger(Path(sys.argv[1]), create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
        for number in range(1_000_000):
            moved = Checkpoint(NOON, open_executions={str(number): NOON})
            await ledger.record(FEED, [entry(f"n-{number}")], now=NOON, checkpoint=moved)
            print(number, flush=True)

asyncio.run(record())
"""


def test_killed_process_loses_nothing_committed(file: Path) -> None:
    command = [sys.executable, "-c", RECORDER, str(file)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as recorder:  # noqa: S603
        assert recorder.stdout is not None
        committed = [int(next(recorder.stdout)) for _ in range(50)]
        recorder.kill()
        committed += [int(line) for line in recorder.stdout]
    recorded = counters(file).recorded - 1
    assert committed[-1] + 1 <= recorded <= committed[-1] + 2

    async def load() -> Checkpoint:
        async with SqliteLedger(file) as ledger:
            return await ledger.checkpoint(FEED)

    assert asyncio.run(load()).open_executions == {str(recorded - 1): NOON}


def test_copy_of_closed_ledger_opens(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "copy.db")
    assert counters(tmp_path / "copy.db") == Counters(recorded=1, pending=1)


def test_ids_without_payloads_stay_small(file: Path) -> None:
    async def fill() -> None:
        async with SqliteLedger(file) as ledger:
            for day in range(5):
                await record_ids(ledger, *(f"e-{day}-{number}" for number in range(300)))
                tokens = await claim_tokens(ledger, 500)
                await ledger.settle([Sent(token, "e") for token in tokens.values()], now=NOON + day * DAY)
                await apply_all_retention(ledger, now=day * DAY + 2 * HOUR, id_retention=90 * DAY)

    asyncio.run(fill())
    assert counters(file).sent == 1501
    assert file.stat().st_size < 1500 * 200


async def test_job_without_transaction_fails_alone(file: Path) -> None:
    """SQLite rolls back automatically if the disk fails in the middle of a group."""

    def rolled_back(db: sqlite3.Connection) -> None:
        db.execute("ROLLBACK")

    writer = Writer(file, UnsavedTraffic(), create=False)
    await writer.start()
    save = partial(metadata.save_verified_seq, bus="a", seq=1)
    done = await asyncio.gather(
        writer.write(save),
        writer.write(rolled_back),
        writer.write(metadata.next_settlement_seq),
        return_exceptions=True,
    )
    assert [type(each) for each in done] == [type(None), LedgerError, int]
    assert await writer.read(metadata.verified_seqs) == {"a": 1}
    assert await writer.read(metadata.last_settlement_seq) == 1
    await writer.stop()
