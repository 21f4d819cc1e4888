"""End to end: every workflow failed at once, and everything is to be on the bus.

From an empty ledger to everything settled: pages of 30 from a logs API, 2 KB a failure, to a sink; each contestant is a
process of its own, and its start counts. All read pages one after the other of each feed; the forwarder reads as many
feeds at once as its settings say, and writes with synchronous=FULL.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.benchmarks.bench import Bench
from tests.benchmarks.daemon import daemon
from tests.benchmarks.sink import sink
from tests.benchmarks.source import source
from tests.benchmarks.stages import SIZE, STAGES

GOALS = (4, 6)

FEEDS = 200


def run(bench: Bench) -> None:
    """The slow ones get fewer failures, and are compared by failures a second. Each costs the threaded one the same;
    the simple one writes all ids anew with each page, so it begins with those of the first half of the storm.
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
        rates["simple baseline"].append(of_script("baseline_simple", failures["simple baseline"], seen=half))
        rates["threaded baseline"].append(of_script("baseline_threads", failures["threaded baseline"]))
        rates["forwarder"].append(of_forwarder(failures["forwarder"], blocked))
    medians = {name: median(values) for name, values in rates.items()}
    for name, count in failures.items():
        told = ", ".join(f"{rate:,.0f}" for rate in rates[name])
        bench.note(f"  {name}: {medians[name]:,.0f} failures/s, from {count:,} failures (rounds: {told})")
    for name, wanted in (("simple baseline", 12), ("threaded baseline", 2.5)):
        ratios = [ours / theirs for ours, theirs in zip(rates["forwarder"], rates[name], strict=True)]
        bench.goal(4, f"{failures['forwarder']:,} failures, to the {name}", median(ratios), at_least=wanted)
    ceilings = {name: measure() for name, measure in STAGES.items()}
    bench.note("stages alone, each on one core, failures/s: " + told_of(ceilings))
    bench.note(f"all of them after each other on one core: {1 / sum(1 / each for each in ceilings.values()):,.0f}")
    slowest = min(ceilings, key=lambda name: ceilings[name])
    bench.goal(4, f"to its slowest stage alone ({slowest})", medians["forwarder"] / ceilings[slowest], at_least=0.8)
    bench.goal(6, "longest that the event loop was blocked in a storm", max(blocked), unit="ms", at_most=20)


def told_of(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {figure:,.0f}" for name, figure in figures.items())


def of_script(name: str, failures: int, *, seen: int = 0) -> float:
    """`seen` is how many it has sent before."""
    feeds = min(FEEDS, failures // 30)
    with source(feeds=feeds, depth=failures // feeds, size=SIZE) as api, sink() as bus, TemporaryDirectory() as folder:
        if seen:
            Path(folder, "seen").write_text(json.dumps([f"w-seen-{number:06d}" for number in range(seen)]))
        command = [sys.executable, "-m", f"tests.benchmarks.{name}", api.url, bus.url, str(feeds), f"{folder}/seen"]
        began = time.perf_counter()
        subprocess.run(command, check=True)  # noqa: S603  # a script of ours
        took = time.perf_counter() - began
        assert bus.taken() == failures // feeds * feeds
        return bus.taken() / took


def of_forwarder(failures: int, blocked: list[float]) -> float:
    with source(feeds=FEEDS, depth=failures // FEEDS, size=SIZE) as api, sink() as bus:
        with TemporaryDirectory() as folder:
            began = time.perf_counter()
            with daemon(Path(folder), api.url, bus.url, workflows=api.workflows, ticking=True) as it:
                it.until(lambda books: books.sent > 0, within=60)
                it.blocked()  # of the start, when modules are loaded, nothing is asked
                it.until_settled(failures)
                took = time.perf_counter() - began
                blocked.append(it.blocked())
        assert bus.taken() == failures
        return failures / took
