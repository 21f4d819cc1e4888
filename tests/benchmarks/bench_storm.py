"""End to end: the executions of every workflow fail at once, and all failures are forwarded.

A run begins with an empty ledger, reads pages of 30 failures of 2 KB, and ends when all are settled. Each contestant is
a separate process, and its start counts. All read the pages of a feed one after the other. The forwarder polls several
feeds at once, and writes with synchronous=FULL.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.benchmarks.bench import Bench
from tests.benchmarks.daemon import start_daemon
from tests.benchmarks.sink import start_sink
from tests.benchmarks.source import start_source
from tests.benchmarks.stages import SIZE, STAGES

GOALS = (4, 6)

FEEDS = 200


def run(bench: Bench) -> None:
    """Compare the contestants by failures a second. The slow ones get fewer failures.

    The cost of a failure is constant for the threaded baseline. The simple one writes all ids again with each page, and
    starts with the ids of the first half of the storm.
    """
    failures = {
        "forwarder": 10_000 if bench.quick else 100_000,
        "threaded baseline": 4_000 if bench.quick else 20_000,
        "simple baseline": 1_000 if bench.quick else 2_000,
    }
    half = failures["forwarder"] // 2
    rounds = 1 if bench.quick else 3
    rates: dict[str, list[float]] = {name: [] for name in failures}
    blocked: list[float] = []
    for _ in range(rounds):
        rates["simple baseline"].append(baseline_rate("baseline_simple", failures["simple baseline"], seen=half))
        rates["threaded baseline"].append(baseline_rate("baseline_threads", failures["threaded baseline"]))
        rates["forwarder"].append(forwarder_rate(failures["forwarder"], blocked))
    medians = {name: median(values) for name, values in rates.items()}
    for name, count in failures.items():
        rates_text = ", ".join(f"{rate:,.0f}" for rate in rates[name])
        bench.note(f"  {name}: {medians[name]:,.0f} failures/s, from {count:,} failures (rounds: {rates_text})")
    for name, min_ratio in (("simple baseline", 12), ("threaded baseline", 2.5)):
        ratios = [ours / theirs for ours, theirs in zip(rates["forwarder"], rates[name], strict=True)]
        bench.goal(4, f"{failures['forwarder']:,} failures, to the {name}", median(ratios), at_least=min_ratio)
    ceilings = {name: measure() for name, measure in STAGES.items()}
    bench.note("single stages, each on one core, failures/s: " + rates_text_of(ceilings))
    bench.note(f"all stages in sequence on one core: {1 / sum(1 / each for each in ceilings.values()):,.0f}")
    slowest = min(ceilings, key=lambda name: ceilings[name])
    bench.goal(4, f"to its slowest stage alone ({slowest})", medians["forwarder"] / ceilings[slowest], at_least=0.8)
    bench.goal(6, "longest block of the event loop in a storm", max(blocked), unit="ms", at_most=20)


def rates_text_of(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {figure:,.0f}" for name, figure in figures.items())


def baseline_rate(name: str, failures: int, *, seen: int = 0) -> float:
    """Return the rate of a baseline that has sent `seen` failures before."""
    feeds = min(FEEDS, failures // 30)
    with (
        start_source(feeds=feeds, depth=failures // feeds, size=SIZE) as api,
        start_sink() as bus,
        TemporaryDirectory() as folder,
    ):
        if seen:
            Path(folder, "seen").write_text(json.dumps([f"w-seen-{number:06d}" for number in range(seen)]))
        command = [sys.executable, "-m", f"tests.benchmarks.{name}", api.url, bus.url, str(feeds), f"{folder}/seen"]
        began = time.perf_counter()
        subprocess.run(command, check=True)  # noqa: S603  # a script of this package
        took = time.perf_counter() - began
        assert bus.accepted_count() == failures // feeds * feeds
        return bus.accepted_count() / took


def forwarder_rate(failures: int, blocked: list[float]) -> float:
    with start_source(feeds=FEEDS, depth=failures // FEEDS, size=SIZE) as api, start_sink() as bus:
        with TemporaryDirectory() as folder:
            began = time.perf_counter()
            with start_daemon(Path(folder), api.url, bus.url, workflows=api.workflows, measure_blocking=True) as daemon:
                daemon.wait_until(lambda counters: counters.sent > 0, within=60)
                daemon.blocked()  # the start, which loads modules, does not count
                daemon.wait_until_settled(failures)
                took = time.perf_counter() - began
                blocked.append(daemon.blocked())
        assert bus.accepted_count() == failures
        return failures / took
