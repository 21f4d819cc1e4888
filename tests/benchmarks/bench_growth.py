"""Growth: events a second as one thing grows: the backlog, feeds, remembered ids, the payload.

Of feeds, the last point is as many as there may be: with so few failures each that it is requests that are counted.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.backlog import owe
from tests.benchmarks.bench import Bench
from tests.benchmarks.daemon import Daemon, daemon
from tests.benchmarks.id_history import remember
from tests.benchmarks.sink import sink
from tests.benchmarks.source import source

GOALS = (7,)

FEEDS = 20
SIZE = 2048
LONGEST = 5.0
"""Seconds of a backlog that are looked at."""

SMALLEST_SHARE = 0.5
"""Of the rate of a small backlog, a small table or few feeds, which that of the largest must not fall below."""


def run(bench: Bench) -> None:
    quick = bench.quick
    failures = 1_000 if quick else 10_000
    sizes: dict[str, tuple[list[float], Callable[[float], float]]] = {
        "backlog": ([1e3, 1e4] if quick else [1e3, 1e4, 1e5, 1e6], lambda size: of_backlog(int(size))),
        "feeds": (
            [1, 1e1, 1e2] if quick else [1, 1e1, 1e2, 1e3, 1e4],
            lambda size: of_storm(max(failures, 2 * int(size)), feeds=int(size)),
        ),
        "remembered ids": (
            [0, 1e5] if quick else [0, 1e5, 1e6, 1e7],
            lambda size: of_storm(failures, remembered=int(size)),
        ),
        "payload, bytes": (
            [512, 20_480] if quick else [512, 2048, 20_480, 204_800],
            lambda size: of_storm(max(200, min(failures, int(failures * SIZE / size))), size=int(size)),
        ),
    }
    for name, (points, measure) in sizes.items():
        rates = [(size, measure(size)) for size in points]
        bench.curve(f"growth, {name}", name, "events/s", {"forwarder": rates})
        if not name.startswith("payload"):  # of which each byte is to be read, searched and sent
            most, rate = rates[-2 if name == "feeds" else -1]
            share = rate / max(rate for _, rate in rates[:2])
            what = f"{most:,.0f} {name}, rate to that of few"
            bench.goal(7, what, share, unit="of it", at_least=SMALLEST_SHARE)


def of_backlog(entries: int) -> float:
    """Of a daemon that has nothing to read, from its first event on."""
    with sink() as bus, TemporaryDirectory() as folder:
        owe(Path(folder) / "forwarder.db", entries)
        with daemon(Path(folder), "http://127.0.0.1:9", bus.url, workflows=[]) as it:
            first = it.until(lambda books: books.sent > 0, within=60)
            began = time.perf_counter()
            books = it.until(lambda books: books.pending == 0 or time.perf_counter() - began > LONGEST, within=60)
            return (books.sent - first.sent) / max(time.perf_counter() - began, 1e-3)


def of_storm(failures: int, *, feeds: int = FEEDS, remembered: int = 0, size: int = SIZE) -> float:
    """From the first page on; the start of the process is in none of them."""
    depth = max(1, failures // feeds)
    with source(feeds=feeds, depth=depth, size=size) as api, sink() as bus, TemporaryDirectory() as folder:
        if remembered:
            remember(Path(folder) / "forwarder.db", remembered)
        with daemon(Path(folder), api.url, bus.url, workflows=api.workflows) as it:
            until_reading(it)
            began = time.perf_counter()
            it.until_settled(remembered + feeds * depth)
            return feeds * depth / (time.perf_counter() - began)


def until_reading(it: Daemon) -> None:
    it.until(lambda books: books.pending > 0 or books.recorded > books.forgotten + books.sent, within=60)
