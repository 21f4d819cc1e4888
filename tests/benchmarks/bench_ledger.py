"""The ledger: ten million ids remembered, and as quick and as small as on the first day."""

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
from tests.benchmarks.daemon import daemon
from tests.benchmarks.id_history import ASKED, FEED, an_id, remember
from tests.benchmarks.stages import a_detail

GOALS = (3,)

AT_ONCE = 100
CALLERS = 8
"""That record at the same time, as a daemon's readers do; the worker commits what waits together."""

SWEEPING, SWEEPING_QUICKLY = 5.0, 2.0
"""Seconds."""

KEPT = timedelta(days=1)

_numbers = count()


def run(bench: Bench) -> None:
    ids = 300_000 if bench.quick else 10_000_000
    with TemporaryDirectory() as folder:
        file = remember(Path(folder) / "forwarder.db", ids)
        told = f"{ids:,} ids remembered"
        bench.goal(3, f"disk, {told}", file.stat().st_size / ids, unit="bytes an id", at_most=40)
        bench.goal(3, f"start-up, {told}", asyncio.run(start_up(file)) * 1000, unit="ms", at_most=100)
        contestants: dict[str, Turn] = {
            "known, 100 asked at once": lambda seconds: asyncio.run(known(file, seconds)),
            "recording, one caller": lambda seconds: asyncio.run(recorded(file, seconds, callers=1)),
            f"recording, {CALLERS} callers": lambda seconds: asyncio.run(recorded(file, seconds, callers=CALLERS)),
        }
        held = bench.compare(f"ledger, {told}", "ids/s", contestants)
        bench.goal(3, f"known-checks, {told}", held.median("known, 100 asked at once"), unit="/s", at_least=100_000)
        best = held.best(*list(contestants)[1:])
        bench.goal(3, f"recordings, {told}", held.median(best), unit="/s", at_least=20_000)
        stalls(bench, file)
        rss = asyncio.run(daemons_memory(folder))
        bench.goal(3, f"memory of the whole daemon, {told}", rss, unit="MiB", at_most=150)


async def start_up(file: Path) -> float:
    began = time.perf_counter()
    async with SqliteLedger(file) as ledger:
        await ledger.counters()
        return time.perf_counter() - began


async def known(file: Path, seconds: float) -> float:
    """Half of the ids asked for are known, all over the table."""
    async with SqliteLedger(file) as ledger:
        done = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            ids = [an_id((done + 7919 * index) % (2 * ASKED)) for index in range(AT_ONCE)]
            await ledger.known_ids(ids)
            done += AT_ONCE
        return done / (time.perf_counter() - began)


async def recorded(file: Path, seconds: float, *, callers: int) -> float:
    detail = a_detail()[:1024]  # 1 KB
    async with SqliteLedger(file) as ledger:
        done = 0
        began = time.perf_counter()

        async def record() -> None:
            nonlocal done
            while time.perf_counter() - began < seconds:
                new = await ledger.record(FEED, fresh(AT_ONCE, detail), now=datetime.now(UTC))
                done += new  # apart: what is added to is read before what is awaited

        await asyncio.gather(*(record() for _ in range(callers)))
        return done / (time.perf_counter() - began)


def fresh(number: int, detail: bytes) -> list[Entry]:
    now = datetime.now(UTC)
    return [Entry(f"{next(_numbers):08d}-{time.time_ns()}", FEED, now, detail) for _ in range(number)]


def stalls(bench: Bench, file: Path) -> None:
    """How long a write takes, in milliseconds, without and with the forgetting of old ids beside it."""
    seconds = SWEEPING_QUICKLY if bench.quick else SWEEPING
    quiet = asyncio.run(writes(file, seconds, beside=None))
    beside = asyncio.run(writes(file, seconds, beside=KEPT / 24))
    bench.quantiles("a write, without and with forgetting beside it", "ms", {"without": quiet, "with": beside})
    bench.goal(3, "longest write while ids are forgotten", max(beside), unit="ms", at_most=50)


async def writes(file: Path, seconds: float, *, beside: timedelta | None) -> list[float]:
    """`beside` is how long ids are remembered: those in the file are a day old."""
    async with SqliteLedger(file) as ledger:
        took: list[float] = []
        end = time.perf_counter() + seconds

        async def sweep(remember_: timedelta) -> None:
            while time.perf_counter() < end:
                await ledger.apply_retention(now=datetime.now(UTC), id_retention=remember_, payload_retention=KEPT)

        sweeping: Callable[[], Awaitable[None]] = (lambda: sweep(beside)) if beside else (lambda: asyncio.sleep(0))
        task = asyncio.ensure_future(sweeping())
        while time.perf_counter() < end:
            began = time.perf_counter()
            await ledger.record(FEED, fresh(1, b"{}"), now=datetime.now(UTC))
            took.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.002)
        await task
        return took


async def daemons_memory(folder: str) -> float:
    """MiB that a daemon on this ledger takes after some seconds."""
    nowhere = "http://127.0.0.1:9"
    with daemon(Path(folder), nowhere, nowhere, workflows=[FEED.workflow_id]) as it:
        await asyncio.sleep(3)
        return it.memory()
