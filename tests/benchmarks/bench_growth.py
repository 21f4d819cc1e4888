"""Growth: events a second as one size grows: the backlog, the feeds, the known ids, the payload.

The last point of the feeds is the maximum. Each feed then has so few failures that the requests limit the rate.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.backlog import create_backlog
from tests.benchmarks.bench import Bench
from tests.benchmarks.daemon import Daemon, start_daemon
from tests.benchmarks.id_history import create_history
from tests.benchmarks.sink import start_sink
from tests.benchmarks.source import start_source

GOALS = (7,)

FEEDS = 20
SIZE = 2048
MAX_BACKLOG_SECONDS = 5.0
"""The part of a backlog that is measured."""

MIN_SHARE = 0.5
"""The minimum share of the rate with a small backlog, a small table or few feeds that the largest must reach."""


def run(bench: Bench) -> None:
    quick = bench.quick
    failures = 1_000 if quick else 10_000
    sizes: dict[str, tuple[list[float], Callable[[float], float]]] = {
        "backlog": ([1e3, 1e4] if quick else [1e3, 1e4, 1e5, 1e6], lambda size: backlog_rate(int(size))),
        "feeds": (
            [1, 1e1, 1e2] if quick else [1, 1e1, 1e2, 1e3, 1e4],
            lambda size: storm_rate(max(failures, 2 * int(size)), feeds=int(size)),
        ),
        "known ids": (
            [0, 1e5] if quick else [0, 1e5, 1e6, 1e7],
            lambda size: storm_rate(failures, known_ids=int(size)),
        ),
        "payload, bytes": (
            [512, 20_480] if quick else [512, 2048, 20_480, 204_800],
            lambda size: storm_rate(max(200, min(failures, int(failures * SIZE / size))), size=int(size)),
        ),
    }
    for name, (points, measure) in sizes.items():
        rates = [(size, measure(size)) for size in points]
        bench.curve(f"growth, {name}", name, "events/s", {"forwarder": rates})
        if not name.startswith("payload"):  # each byte of a payload has to be read, searched and sent
            most, rate = rates[-2 if name == "feeds" else -1]
            share = rate / max(rate for _, rate in rates[:2])
            what = f"{most:,.0f} {name}, rate to that of few"
            bench.goal(7, what, share, unit="of it", at_least=MIN_SHARE)


def backlog_rate(entries: int) -> float:
    """Return the rate of a daemon without feeds, from its first event on."""
    with start_sink() as bus, TemporaryDirectory() as folder:
        create_backlog(Path(folder) / "forwarder.db", entries)
        with start_daemon(Path(folder), "http://127.0.0.1:9", bus.url, workflows=[]) as daemon:
            first = daemon.wait_until(lambda counters: counters.sent > 0, within=60)
            began = time.perf_counter()
            counters = daemon.wait_until(
                lambda counters: counters.pending == 0 or time.perf_counter() - began > MAX_BACKLOG_SECONDS, within=60
            )
            return (counters.sent - first.sent) / max(time.perf_counter() - began, 1e-3)


def storm_rate(failures: int, *, feeds: int = FEEDS, known_ids: int = 0, size: int = SIZE) -> float:
    """Return the rate from the first page on, without the start of the process."""
    depth = max(1, failures // feeds)
    with start_source(feeds=feeds, depth=depth, size=size) as api, start_sink() as bus, TemporaryDirectory() as folder:
        if known_ids:
            create_history(Path(folder) / "forwarder.db", known_ids)
        with start_daemon(Path(folder), api.url, bus.url, workflows=api.workflows) as daemon:
            wait_until_polling(daemon)
            began = time.perf_counter()
            daemon.wait_until_settled(known_ids + feeds * depth)
            return feeds * depth / (time.perf_counter() - began)


def wait_until_polling(daemon: Daemon) -> None:
    daemon.wait_until(
        lambda counters: counters.pending > 0 or counters.recorded > counters.forgotten + counters.sent, within=60
    )
