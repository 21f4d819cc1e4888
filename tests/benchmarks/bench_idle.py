"""Idle: what feeds cost in which nothing happens, and what it takes to start with very many."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.bench import Bench
from tests.benchmarks.daemon import Daemon, daemon
from tests.benchmarks.sink import sink
from tests.benchmarks.source import Source, source

GOALS = (6,)

QUIET = 1000
MANY = 10_000
NO_PAYLOAD = 2048


def run(bench: Bench) -> None:
    idle(bench)
    start(bench)


def idle(bench: Bench) -> None:
    """A quiet feed is read every two minutes, by default; in these, each is read once.

    A run takes a part of the time, and reads that part of the feeds in it.
    """
    part = 12 if bench.quick else 4
    seconds, feeds = 120 // part, QUIET // part
    every = {"min_interval": f"{seconds}s", "max_interval": f"{seconds}s"}
    with source(feeds=feeds, depth=5, failing=0, size=NO_PAYLOAD) as api, sink() as bus, TemporaryDirectory() as folder:
        with daemon(Path(folder), api.url, bus.url, workflows=api.workflows, source=every) as it:
            until_read(it, api, feeds)
            cpu, written, pages = it.cpu(), it.written(), api.pages()
            time.sleep(seconds)
            used, written, pages = it.cpu() - cpu, it.written() - written, api.pages() - pages
        bench.note(f"{feeds:,} quiet feeds: {pages:,} pages read in {seconds} s")
        bench.goal(6, f"{QUIET:,} quiet feeds", 100 * used / seconds, unit="% of a core", at_most=2)
        bench.goal(6, f"{QUIET:,} quiet feeds, written to disk", written, unit="bytes", at_most=0)


def start(bench: Bench) -> None:
    """From nothing to the first page asked for, when every feed has been begun in the ledger."""
    feeds = MANY // 5 if bench.quick else MANY
    with source(feeds=feeds, depth=1, failing=0, size=NO_PAYLOAD) as api, sink() as bus, TemporaryDirectory() as folder:
        began = time.perf_counter()
        with daemon(Path(folder), api.url, bus.url, workflows=api.workflows) as it:
            while not api.pages():
                time.sleep(0.01)
            took = time.perf_counter() - began
            with closing(sqlite3.connect(Path(folder) / "forwarder.db")) as db:
                assert db.execute("SELECT count(*) FROM feeds").fetchone() == (feeds,)
            until_asked(api, feeds)
            memory = it.memory()
    bench.goal(6, f"{feeds:,} feeds, start", took, unit="s", at_most=5)
    bench.goal(6, f"{feeds:,} feeds, memory when each was read", memory, unit="MiB", at_most=200)


def until_asked(api: Source, feeds: int) -> None:
    """Until every feed was read, which takes two pages each."""
    while api.pages() < 2 * feeds:
        time.sleep(0.1)


def until_read(it: Daemon, api: Source, feeds: int) -> None:
    """The same, and until that was written down."""
    until_asked(api, feeds)
    written = -1
    while written != (written := it.written()):
        time.sleep(1.5)
