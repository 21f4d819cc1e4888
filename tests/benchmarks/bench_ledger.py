"""The ledger: with ten million known ids it is as fast as on the first day, and small."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from forwarder.ledger import SqliteLedger
from forwarder.model import Entry
from tests.benchmarks.bench import Bench
from tests.benchmarks.comparison import Turn
from tests.benchmarks.daemon import start_daemon
from tests.benchmarks.id_history import FEED, NAMED_IDS, create_history, named_id
from tests.benchmarks.stages import storm_detail

GOALS = (3,)

IDS_PER_CALL = 100
CALLERS = 8
"""The concurrent callers of `record`, like a daemon's readers. The writer commits waiting calls together."""

RETENTION_SECONDS, QUICK_RETENTION_SECONDS = 5.0, 2.0

RETENTION = timedelta(days=1)

_numbers = count()


def run(bench: Bench) -> None:
    ids = 300_000 if bench.quick else 10_000_000
    with TemporaryDirectory() as folder:
        file = create_history(Path(folder) / "forwarder.db", ids)
        what = f"{ids:,} known ids"
        bench.goal(3, f"disk, {what}", file.stat().st_size / ids, unit="bytes an id", at_most=40)
        bench.goal(3, f"start-up, {what}", asyncio.run(start_up(file)) * 1000, unit="ms", at_most=100)
        contestants: dict[str, Turn] = {
            "checks, 100 ids a call": lambda seconds: asyncio.run(check_rate(file, seconds)),
            "recording, one caller": lambda seconds: asyncio.run(record_rate(file, seconds, callers=1)),
            f"recording, {CALLERS} callers": lambda seconds: asyncio.run(record_rate(file, seconds, callers=CALLERS)),
        }
        result = bench.compare(f"ledger, {what}", "ids/s", contestants)
        bench.goal(3, f"checks, {what}", result.median("checks, 100 ids a call"), unit="/s", at_least=100_000)
        best = result.best(*list(contestants)[1:])
        bench.goal(3, f"recordings, {what}", result.median(best), unit="/s", at_least=20_000)
        compare_writes(bench, file)
        rss = asyncio.run(daemon_memory(folder))
        bench.goal(3, f"memory of the whole daemon, {what}", rss, unit="MiB", at_most=150)


async def start_up(file: Path) -> float:
    began = time.perf_counter()
    async with SqliteLedger(file) as ledger:
        await ledger.counters()
        return time.perf_counter() - began


async def check_rate(file: Path, seconds: float) -> float:
    """Return the rate of checks. Half of the ids are known, and they are spread over the table."""
    async with SqliteLedger(file) as ledger:
        done = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            ids = [named_id((done + 7919 * index) % (2 * NAMED_IDS)) for index in range(IDS_PER_CALL)]
            await ledger.known_ids(ids)
            done += IDS_PER_CALL
        return done / (time.perf_counter() - began)


async def record_rate(file: Path, seconds: float, *, callers: int) -> float:
    detail = storm_detail()[:1024]  # 1 KB
    async with SqliteLedger(file) as ledger:
        done = 0
        began = time.perf_counter()

        async def record() -> None:
            nonlocal done
            while time.perf_counter() - began < seconds:
                new = await ledger.record(FEED, new_entries(IDS_PER_CALL, detail), now=datetime.now(UTC))
                done += new  # not in the statement above, which would read `done` before it awaits

        await asyncio.gather(*(record() for _ in range(callers)))
        return done / (time.perf_counter() - began)


def new_entries(number: int, detail: bytes) -> list[Entry]:
    now = datetime.now(UTC)
    return [Entry(f"{next(_numbers):08d}-{time.time_ns()}", FEED, now, detail) for _ in range(number)]


def compare_writes(bench: Bench, file: Path) -> None:
    """Measure the time of a write in milliseconds, with and without the concurrent removal of old ids."""
    seconds = QUICK_RETENTION_SECONDS if bench.quick else RETENTION_SECONDS
    quiet = asyncio.run(write_times(file, seconds, beside=None))
    beside = asyncio.run(write_times(file, seconds, beside=RETENTION / 24))
    bench.quantiles("a write, with and without the removal of old ids", "ms", {"without": quiet, "with": beside})
    bench.goal(3, "longest write during the removal of ids", max(beside), unit="ms", at_most=50)


async def write_times(file: Path, seconds: float, *, beside: timedelta | None) -> list[float]:
    """Return the times of writes. `beside` is the retention of ids by which old ids are removed meanwhile, or None."""
    async with SqliteLedger(file) as ledger:
        took: list[float] = []
        end = time.perf_counter() + seconds

        async def sweep(retention: timedelta) -> None:
            while time.perf_counter() < end:
                await ledger.apply_retention(now=datetime.now(UTC), id_retention=retention, payload_retention=RETENTION)

        sweeping: Callable[[], Awaitable[None]] = (lambda: sweep(beside)) if beside else (lambda: asyncio.sleep(0))
        task = asyncio.ensure_future(sweeping())
        while time.perf_counter() < end:
            began = time.perf_counter()
            await ledger.record(FEED, new_entries(1, b"{}"), now=datetime.now(UTC))
            took.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.002)
        await task
        return took


async def daemon_memory(folder: str) -> float:
    """Return the memory of a daemon on this ledger after some seconds, in MiB."""
    nowhere = "http://127.0.0.1:9"
    with start_daemon(Path(folder), nowhere, nowhere, workflows=[FEED.workflow_id]) as daemon:
        await asyncio.sleep(3)
        return daemon.memory()
