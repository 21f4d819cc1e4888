"""Idle: the cost of feeds without new executions, and of a start with very many feeds."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.bench import Bench
from tests.benchmarks.daemon import Daemon, start_daemon
from tests.benchmarks.sink import start_sink
from tests.benchmarks.source import Source, start_source

GOALS = (6,)

QUIET_FEEDS = 1000
QUIET_INTERVAL_SECONDS = 200
MANY_FEEDS = 10_000
RECORD_BYTES = 2048


def run(bench: Bench) -> None:
    idle(bench)
    start(bench)


def idle(bench: Bench) -> None:
    """Measure the cost of feeds with one execution an hour. A thousand of them use a quarter of 20 requests a second.

    A run takes a part of that time, and polls that part of the feeds, each once.
    """
    part = 12 if bench.quick else 4
    seconds, feeds = QUIET_INTERVAL_SECONDS // part, QUIET_FEEDS // part
    every = {"min_interval": f"{seconds}s", "max_interval": f"{seconds}s"}
    with (
        start_source(feeds=feeds, depth=5, failing=0, size=RECORD_BYTES, spacing_seconds=3600) as api,
        start_sink() as bus,
        TemporaryDirectory() as folder,
    ):
        with start_daemon(Path(folder), api.url, bus.url, workflows=api.workflows, source=every) as daemon:
            wait_until_recorded(daemon, api, feeds)
            cpu_seconds, bytes_written, pages = daemon.cpu_seconds(), daemon.bytes_written(), api.pages()
            time.sleep(seconds)
            used, bytes_written, pages = (
                daemon.cpu_seconds() - cpu_seconds,
                daemon.bytes_written() - bytes_written,
                api.pages() - pages,
            )
        bench.note(f"{feeds:,} quiet feeds: {pages:,} pages read in {seconds} s")
        bench.goal(6, f"{QUIET_FEEDS:,} quiet feeds", 100 * used / seconds, unit="% of a core", at_most=2)
        bench.goal(6, f"{QUIET_FEEDS:,} quiet feeds, written to disk", bytes_written, unit="bytes", at_most=0)


def start(bench: Bench) -> None:
    """Measure a start from an empty ledger to the first request of a page. Every feed is in the ledger by then."""
    feeds = MANY_FEEDS // 5 if bench.quick else MANY_FEEDS
    with (
        start_source(feeds=feeds, depth=1, failing=0, size=RECORD_BYTES) as api,
        start_sink() as bus,
        TemporaryDirectory() as folder,
    ):
        began = time.perf_counter()
        with start_daemon(Path(folder), api.url, bus.url, workflows=api.workflows) as daemon:
            while not api.pages():
                time.sleep(0.01)
            took = time.perf_counter() - began
            with closing(sqlite3.connect(Path(folder) / "forwarder.db")) as db:
                assert db.execute("SELECT count(*) FROM feeds").fetchone() == (feeds,)
            wait_until_polled(api, feeds)
            memory = daemon.memory()
    bench.goal(6, f"{feeds:,} feeds, start", took, unit="s", at_most=5)
    bench.goal(6, f"{feeds:,} feeds, memory when each was read", memory, unit="MiB", at_most=200)


def wait_until_polled(api: Source, feeds: int) -> None:
    """Wait until every feed was polled, which takes two pages each."""
    while api.pages() < 2 * feeds:
        time.sleep(0.1)


def wait_until_recorded(daemon: Daemon, api: Source, feeds: int) -> None:
    """Wait until every feed was polled, and the daemon writes nothing more."""
    wait_until_polled(api, feeds)
    bytes_written = -1
    while bytes_written != (bytes_written := daemon.bytes_written()):
        time.sleep(1.5)
