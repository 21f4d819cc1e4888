"""One file, several processes and several callers at once, and processes that die."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from forwarder.errors import LedgerError
from forwarder.ledger import Books, Sent, SqliteLedger, notes
from forwarder.ledger.worker import Worker
from forwarder.model import Checkpoint, Feed
from tests.clocks import NOON
from tests.ledger.contract import DAY, HOUR, forget_all, owe, taken
from tests.ledger.files import books, filled
from tests.loops import looped
from tests.samples import FEED, entry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.db"
    filled(file, 1)
    return file


@looped
async def test_another_process_that_holds_the_file_is_waited_for(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.3, other.execute, "ROLLBACK")
        assert await owe(ledger, "new") == 1
        other.close()


@looped
async def test_work_that_raises_changes_nothing_and_leaves_its_neighbours_alone(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        feeds = [FEED] * 10 + [Feed("never begun")] + [FEED] * 10
        results = await asyncio.gather(
            *(ledger.record(feed, [entry(f"n-{number}")], now=NOON) for number, feed in enumerate(feeds)),
            return_exceptions=True,
        )
        assert [isinstance(result, LedgerError) for result in results] == [feed != FEED for feed in feeds]
        assert await ledger.audit() == Books(recorded=21, owed=21)


@looped
async def test_a_caller_that_is_cancelled_breaks_nothing(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        tasks = [asyncio.create_task(ledger.record(FEED, [entry(f"n-{number}")], now=NOON)) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ids = {f"n-{number}" for number in range(20)}
        known = await ledger.known(ids)
        assert {f"n-{number}" for number in range(1, 20, 2)} <= known <= ids
        assert (await ledger.audit()).recorded == 1 + len(known)


@looped
async def test_a_closed_ledger_says_so(file: Path) -> None:
    async with SqliteLedger(file) as ledger:
        pass
    with pytest.raises(LedgerError, match="closed"):
        await ledger.books()


RECORDER = """
import asyncio, sys
from pathlib import Path
from forwarder.ledger import SqliteLedger
from forwarder.model import Checkpoint
from tests.clocks import NOON
from tests.samples import FEED, entry

async def record():
    async with SqliteLedger(Path(sys.argv[1]), create=True) as ledger:
        await ledger.begin({FEED: Checkpoint()})
        for number in range(1_000_000):
            moved = Checkpoint(NOON, open={str(number): NOON})
            await ledger.record(FEED, [entry(f"n-{number}")], now=NOON, checkpoint=moved)
            print(number, flush=True)

asyncio.run(record())
"""


def test_a_process_killed_at_any_moment_loses_nothing_that_was_committed(file: Path) -> None:
    command = [sys.executable, "-c", RECORDER, str(file)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as recorder:  # noqa: S603
        assert recorder.stdout is not None
        told = [int(next(recorder.stdout)) for _ in range(50)]
        recorder.kill()
        told += [int(line) for line in recorder.stdout]
    recorded = books(file).recorded - 1
    assert told[-1] + 1 <= recorded <= told[-1] + 2

    async def opens() -> Checkpoint:
        async with SqliteLedger(file) as ledger:
            return await ledger.checkpoint(FEED)

    assert asyncio.run(opens()).open == {str(recorded - 1): NOON}


def test_a_copy_of_the_file_alone_opens_after_an_orderly_end(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "copy.db")
    assert books(tmp_path / "copy.db") == Books(recorded=1, owed=1)


def test_ids_without_their_payloads_take_little_room(file: Path) -> None:
    async def years() -> None:
        async with SqliteLedger(file) as ledger:
            for day in range(5):
                await owe(ledger, *(f"e-{day}-{number}" for number in range(300)))
                tokens = await taken(ledger, 500)
                await ledger.settle([Sent(token, "e") for token in tokens.values()], now=NOON + day * DAY)
                await forget_all(ledger, now=day * DAY + 2 * HOUR, remember=90 * DAY)

    asyncio.run(years())
    assert books(file).sent == 1501
    assert file.stat().st_size < 1500 * 200


@looped
async def test_a_job_that_ends_up_without_its_transaction_takes_no_neighbour_along(file: Path) -> None:
    """As where SQLite rolls back by itself, for its disk failed in the middle of a group."""

    def rolled_back(db: sqlite3.Connection) -> None:
        db.execute("ROLLBACK")

    worker = Worker(file, create=False)
    await worker.start()
    note = partial(notes.note_bus, name="a", settle=1)
    done = await asyncio.gather(
        worker.write(note), worker.write(rolled_back), worker.write(notes.next_settle), return_exceptions=True
    )
    assert [type(each) for each in done] == [type(None), LedgerError, int]
    assert await worker.read(notes.buses_seen) == {"a": 1}
    assert await worker.read(notes.last_settle) == 1
    await worker.stop()
